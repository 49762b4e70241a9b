#include "base/json_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "base/error.h"
#include "base/mapped_file.h"

namespace inkstone {
namespace {

constexpr size_t kMaxLineBytes = size_t{64} << 20;

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

}  // namespace

void for_each_json_line(const std::filesystem::path& file,
                        const std::function<void(const Json& value, const std::string& where)>& use) {
  const MappedFile mapped(file);
  std::string_view rest = mapped.text();
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.size() <= kMaxLineBytes && is_blank(line)) continue;
    const std::string where = fmt::format("{}: line {}", file.string(), number);
    if (line.size() > kMaxLineBytes)
      fail(Errc::bad_file, "{}: found {} bytes, expected at most {}", where, line.size(), kMaxLineBytes);
    use(Json::parse(line, where), where);
    mapped.drop(std::as_bytes(std::span(line)));
  }
}

}  // namespace inkstone
