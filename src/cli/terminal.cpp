#include "cli/terminal.h"

#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "base/json.h"

namespace inkstone {
namespace {

std::atomic<int> interrupts{0};
struct sigaction previous_action;

extern "C" void on_interrupt(int) {
  if (interrupts.fetch_add(1) >= 1) _exit(130);
}

void write_out(std::FILE* stream, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fflush(stream);
}

std::string without_controls(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) continue;
    // The C1 controls, U+0080 to U+009F: some terminals obey them as escapes.
    if (c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      ++i;
      continue;
    }
    out += text[i];
  }
  return out;
}

}  // namespace

bool stdout_is_terminal() { return isatty(STDOUT_FILENO) == 1; }
bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }

bool colour() {
  const char* no_colour = std::getenv("NO_COLOR");
  return stderr_is_terminal() && (no_colour == nullptr || *no_colour == '\0');
}

std::string dim(std::string_view text) { return colour() ? fmt::format("\x1b[2m{}\x1b[0m", text) : std::string(text); }

std::string printable(std::string_view text, bool terminal) {
  if (!terminal) return std::string(text);
  return without_controls(text);
}

std::string one_line(std::string_view message) {
  std::string out = without_controls(message);
  std::ranges::replace(out, '\n', ' ');
  return out;
}

std::string human_bytes(double bytes) {
  if (bytes >= 1e9) return fmt::format("{:.2f} GB", bytes / 1e9);
  if (bytes >= 1e6) return fmt::format("{:.1f} MB", bytes / 1e6);
  if (bytes >= 1e3) return fmt::format("{:.1f} KB", bytes / 1e3);
  return fmt::format("{:.0f} bytes", bytes);
}

void AnswerPrinter::show(const OutputEvent& event) {
  switch (event.kind) {
    case OutputEvent::Kind::thinking:
      in_thinking_ = true;
      write_out(stderr, dim(printable(event.text, stderr_is_terminal())));
      break;
    case OutputEvent::Kind::content:
      leave_thinking();
      write_out(stdout, printable(event.text, stdout_is_terminal()));
      if (!event.text.empty()) line_open_ = event.text.back() != '\n';
      break;
    case OutputEvent::Kind::tool_call:
      leave_thinking();
      write_out(stdout,
                fmt::format("{}{{\"name\": {}, \"arguments\": ", line_open_ ? "\n" : "", json_quote(event.text)));
      line_open_ = true;
      break;
    case OutputEvent::Kind::tool_call_arguments: write_out(stdout, printable(event.text, stdout_is_terminal())); break;
    case OutputEvent::Kind::tool_call_end:
      write_out(stdout, "}\n");
      line_open_ = false;
      break;
  }
}

void AnswerPrinter::leave_thinking() {
  if (in_thinking_) write_out(stderr, "\n\n");
  in_thinking_ = false;
}

void AnswerPrinter::finish() {
  leave_thinking();
  if (line_open_) write_out(stdout, "\n");
  line_open_ = false;
}

void ProgressLine::show(std::string_view text) {
  if (!stderr_is_terminal()) return;
  shown_ = true;
  write_out(stderr, fmt::format("\r\x1b[K{}", dim(text)));
}

void ProgressLine::clear() {
  if (shown_) write_out(stderr, "\r\x1b[K");
  shown_ = false;
}

void PromptProgress::show(int done, int total) {
  if (done == total && !line_.shown()) return;  // a prompt read in one piece
  line_.show(fmt::format("reading {} of {} tokens", done, total));
  if (done == total) line_.clear();
}

InterruptGuard::InterruptGuard() {
  interrupts = 0;
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_action);
}

InterruptGuard::~InterruptGuard() { sigaction(SIGINT, &previous_action, nullptr); }

bool InterruptGuard::interrupted() { return interrupts > 0; }

}  // namespace inkstone
