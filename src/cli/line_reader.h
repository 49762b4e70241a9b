// LineReader: lines from the user, with editing and a history on a terminal (libedit), plain otherwise.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace inkstone {

class LineReader {
 public:
  LineReader();
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  bool interactive() const { return interactive_; }

  // The next line without its newline; nothing at the end of input (Ctrl-D), or when Ctrl-C was pressed twice in a row.
  std::optional<std::string> read(const char* prompt);

  // The next line of a message that has begun: nothing at the end of input, or when Ctrl-C was pressed, which takes the
  // message back (`cancelled`).
  std::optional<std::string> read_more(const char* prompt);
  bool cancelled() const { return cancelled_; }

  // Adds a line to this session's history. Nothing is written to disk.
  void remember(const std::string& line);

 private:
  std::optional<std::string> read(const char* prompt, int interrupts_to_leave);
  std::optional<std::string> read_plain();

  struct Editor;
  bool interactive_;
  bool cancelled_ = false;
  std::unique_ptr<Editor> editor_;
};

}  // namespace inkstone
