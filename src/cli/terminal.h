// What the command line shows and how it is interrupted. Answers go to stdout; everything else goes to stderr.
// Colour and progress appear only on a terminal, colour not with NO_COLOR.
#pragma once

#include <string>
#include <string_view>

#include "text/output_parser.h"

namespace inkstone {

bool stdout_is_terminal();
bool stderr_is_terminal();
bool colour();  // of stderr

// `text` dimmed where colour is on.
std::string dim(std::string_view text);

// Text that a model or a file wrote, safe to show: for a terminal, control characters other than \n and \t are dropped,
// so that no answer can move the cursor or change the title. For a file or a pipe it stays as it is.
std::string printable(std::string_view text, bool terminal);

// An error's message as one line: it may quote a file, and no file may write lines or escapes of its own.
std::string one_line(std::string_view message);

// "1.2 GB", "340 MB", "12 KB"
std::string human_bytes(double bytes);

// Shows an answer as it comes: thinking dimmed on stderr, content on stdout, tool calls on stdout as JSON lines.
class AnswerPrinter {
 public:
  void show(const OutputEvent& event);
  // Ends the last line.
  void finish();

 private:
  void leave_thinking();

  bool in_thinking_ = false;
  bool line_open_ = false;  // stdout is in the middle of a line
};

// What goes on, on one line of a terminal's stderr; each text replaces the one before.
class ProgressLine {
 public:
  ~ProgressLine() { clear(); }
  void show(std::string_view text);
  void clear();
  bool shown() const { return shown_; }

 private:
  bool shown_ = false;
};

// "reading 512 of 4096 tokens" on one line of a terminal, for prompts that take a while.
class PromptProgress {
 public:
  void show(int done, int total);
  void clear() { line_.clear(); }

 private:
  ProgressLine line_;
};

// Ctrl-C while it lives: the first sets interrupted(), the second ends the process with exit code 130.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool interrupted();
};

}  // namespace inkstone
