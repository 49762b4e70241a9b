// Failure: what a template did wrong, while it is parsed or rendered. Stays inside jinja/: Template turns it into
// Error(template_error) with the origin and the line.
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace inkstone::jinja {

struct Failure : std::runtime_error {
  explicit Failure(const std::string& message, int at_line = 0) : std::runtime_error(message), line(at_line) {}
  int line;  // 0: the line that was being rendered
};

template <class... Args>
[[noreturn]] void raise(fmt::format_string<Args...> format, Args&&... args) {
  throw Failure(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace inkstone::jinja
