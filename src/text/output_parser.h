// OutputParser: splits what a model writes, piece by piece, into thinking, content and tool calls. Text that may still
// become a marker is held back; however the pieces fall, the events add up to the same. One stream, one thread.
//
// Thinking is the first <think>...</think>, white space before it allowed, without the line break behind <think> and
// the blank lines behind </think>; one of nothing but white space is no event. A later <think> is content. Tool calls
// come as JSON, <tool_call>{"name": ..., "arguments": {...}}</tool_call> (arguments passed on as written), or as XML,
// <tool_call><function=NAME><parameter=KEY>VALUE</parameter>...</function></tool_call>. There a VALUE that is a JSON
// object, array, number, true, false or null is passed on as such, anything else as a string without one line break at
// either end: no schema says what was meant. Between calls and around them white space is dropped, except that of the
// text before a first call only one line break is.
#pragma once

#include <memory>
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

class ToolCallParser;

class OutputParser {
 public:
  explicit OutputParser(const OutputFormat& format);
  ~OutputParser();
  OutputParser(OutputParser&&) noexcept;
  OutputParser& operator=(OutputParser&&) noexcept;

  // Appends the events that `piece` makes certain. Bytes of any kind do; no call throws for them.
  void feed(std::string_view piece, std::vector<OutputEvent>& events);
  // The stream ended: what was held back becomes text; an unfinished or malformed tool call becomes content as it
  // stood. If its name was out already, it never gets a tool_call_end, and the next call counts on.
  void finish(std::vector<OutputEvent>& events);

  bool in_thinking() const;

 private:
  enum class State { before_thinking, thinking_begins, thinking, thinking_ended, content, tool_call };

  void step(char c);
  void before_thinking(char c);
  void thinking(char c);
  void thinking_ended(char c);
  void content(char c);
  void tool_call(char c);
  void begin_thinking_text();
  void leave_blank_lines();
  void begin_tool_call();
  void replay_as_content();
  void tool_call_to_content();
  void emit(OutputEvent::Kind kind, std::string_view text, int index = 0);

  OutputFormat format_;
  State state_;
  std::string blanks_;     // white space held back
  size_t matched_ = 0;     // bytes of a marker held back
  bool answered_ = false;  // content since the start or the last call, other than white space
  int calls_ = 0;          // calls begun
  bool after_call_ = false;
  std::unique_ptr<ToolCallParser> call_;
  std::string call_text_;                       // the call as it stood, with the white space dropped before it
  std::vector<OutputEvent>* events_ = nullptr;  // of the feed() or finish() that runs
  size_t first_event_ = 0;                      // events from here on are this run's: text may be added to the last
};

}  // namespace inkstone
