// The first byte chooses the format, the second the pieces; the rest is what the model writes. However it is cut, the
// events must add up to the same, and arguments of a finished call must be a JSON object.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "text/json_scanner.h"
#include "text/output_parser.h"

namespace {

using inkstone::OutputEvent;
using inkstone::OutputFormat;
using Kind = OutputEvent::Kind;

std::vector<OutputEvent> parse(const OutputFormat& format, std::string_view text, size_t piece) {
  inkstone::OutputParser parser(format);
  std::vector<OutputEvent> events;
  for (size_t i = 0; i < text.size(); i += piece) parser.feed(text.substr(i, piece), events);
  parser.finish(events);
  std::vector<OutputEvent> merged;
  for (OutputEvent& event : events) {
    const bool pure_text = event.kind != Kind::tool_call && event.kind != Kind::tool_call_end;
    if (pure_text && !merged.empty() && merged.back().kind == event.kind && merged.back().index == event.index)
      merged.back().text += event.text;
    else
      merged.push_back(std::move(event));
  }
  return merged;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const OutputFormat format{.starts_in_thinking = (data[0] & 1) != 0, .parse_tool_calls = (data[0] & 2) == 0};
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto whole = parse(format, text, text.size() + 1);
  for (const size_t piece : {size_t{1}, size_t{2}, size_t{data[1]} + 1})
    if (parse(format, text, piece) != whole) std::abort();
  std::string arguments;
  size_t bytes = 0;
  for (const OutputEvent& event : whole) {
    if (event.kind == Kind::tool_call) arguments.clear();
    if (event.kind == Kind::tool_call_arguments) arguments += event.text;
    if (event.kind == Kind::tool_call_end && !inkstone::JsonScanner::is_value(arguments)) std::abort();
    if (event.kind == Kind::thinking || event.kind == Kind::content) bytes += event.text.size();
  }
  if (bytes > text.size()) std::abort();
  return 0;
}
