// OutputParser: splits what a model writes, piece by piece, into thinking, content and tool calls. Text that may still
// become a marker is held back; however the pieces fall, the events add up to the same. One stream, one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace inkstone {

struct OutputEvent {
  enum class Kind {
    thinking,             // text: more of the thinking
    content,              // text: more of the answer
    tool_call,            // a call begins: text is the function's name, index counts the calls from 0
    tool_call_arguments,  // text: more of call `index`'s arguments, a JSON object
    tool_call_end,        // call `index` is complete: its arguments are a whole JSON object
  };
  Kind kind = Kind::content;
  std::string text;
  int index = 0;
  friend bool operator==(const OutputEvent&, const OutputEvent&) = default;
};

struct OutputFormat {
  bool starts_in_thinking = false;  // the prompt itself opened <think> (2507 Thinking)
  bool parse_tool_calls = true;     // off: <tool_call> is content
};

class OutputParser {
 public:
  explicit OutputParser(const OutputFormat& format);

  // Appends the events that `piece` makes certain.
  void feed(std::string_view piece, std::vector<OutputEvent>& events);
  // The stream ended: what was held back becomes text; an unfinished or malformed tool call becomes content as it
  // stood.
  void finish(std::vector<OutputEvent>& events);

  bool in_thinking() const;
};

}  // namespace inkstone
