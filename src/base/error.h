// Errors: one exception type with a code that the borders (CLI main, later HTTP and the C API) map to an exit code.
// fail() when the outside world is wrong, CHECK when we are. Messages read "file: object: found, expected".
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace inkstone {

enum class Errc {
  internal,        // a bug of ours (CHECK)
  usage,           // wrong command line or request
  not_found,       // a file, a model, a verb that is not there
  bad_file,        // malformed, truncated or lying file
  unsupported,     // well-formed, but not something this program runs
  out_of_memory,   // does not fit in this machine's memory
  context_length,  // prompt longer than the context
  template_error,  // the chat template raised or exceeded its bounds
  io,              // the system failed a read or a write
  interrupted,     // the user asked to stop
};

class Error : public std::runtime_error {
 public:
  Error(Errc code, const std::string& message) : std::runtime_error(message), code_(code) {}
  Errc code() const { return code_; }

 private:
  Errc code_;
};

// The process exit code for an error; README documents the table.
int exit_code(Errc code);

template <class... Args>
[[noreturn]] void fail(Errc code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace inkstone

// An invariant of ours; always on, throws Error(internal).
#define CHECK(expression) \
  ((expression) ? static_cast<void>(0) : ::inkstone::check_failed(#expression, __FILE__, __LINE__))
