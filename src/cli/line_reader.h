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

  // Adds a line to this session's history. Nothing is written to disk.
  void remember(const std::string& line);

 private:
  std::optional<std::string> read_plain();

  struct Editor;
  bool interactive_;
  std::unique_ptr<Editor> editor_;
};

}  // namespace inkstone
