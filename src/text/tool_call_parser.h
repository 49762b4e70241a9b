// ToolCallParser: one tool call, byte by byte, from behind <tool_call> to </tool_call>: JSON or XML, as OutputParser
// describes them. It keeps what it must (a name not yet whole, arguments that came before the name, a parameter's
// value), never more than it was fed. One call, one thread.
#pragma once

#include <string>
#include <string_view>
#include <unordered_set>

#include "text/json_scanner.h"

namespace inkstone {

class ToolCallParser {
 public:
  // What a byte made certain; texts are empty where nothing new is.
  struct Step {
    bool malformed = false;  // the byte does not continue a call
    bool name_known = false;
    std::string arguments;  // more of them
    bool complete = false;  // that was the last byte of </tool_call>
  };
  Step feed(char c);
  const std::string& name() const { return name_; }

 private:
  enum class State {
    begin,
    // JSON
    key_or_end,
    key,
    key_text,
    colon,
    value_begin,
    value,
    name_value,
    arguments,
    comma_or_end,
    // XML
    function_marker,
    function_name,
    parameter_or_end,
    parameter_marker,
    parameter_name,
    parameter_value,
    function_end,
    // both
    call_end,
  };

  void json(char c, Step& step);
  void json_value(char c, Step& step);
  void json_string_done(Step& step);
  void begin_json_value(char c, Step& step);
  void end_json_object(Step& step);
  void xml(char c, Step& step);
  void xml_value(char c, Step& step);
  void end_parameter(Step& step);
  void announce(Step& step);
  // Advances over a fixed text; true when it is whole.
  bool follow(std::string_view marker, char c, Step& step);

  State state_ = State::begin;
  size_t matched_ = 0;  // bytes of the marker being followed
  JsonScanner scanner_;
  std::string text_;  // of a key, a name or a value that is not yet whole
  std::string key_;   // JSON: the member's; XML: the parameter's
  std::string name_;
  bool announced_ = false;                // the name is out
  bool has_arguments_ = false;            // JSON: the member was there; XML: a parameter was
  std::string early_;                     // JSON: arguments that came before the name
  std::unordered_set<std::string> keys_;  // XML: each parameter once
};

}  // namespace inkstone
