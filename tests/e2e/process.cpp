#include "process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/error.h"

namespace inkstone::e2e {
namespace {

using Clock = std::chrono::steady_clock;

Clock::time_point after(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

int milliseconds_until(Clock::time_point end) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
  return left > 0 ? static_cast<int>(left) + 1 : 0;
}

// In the child, after fork: becomes the program.
[[noreturn]] void become_inkstone(const Arguments& arguments, const RunOptions& options) {
  signal(SIGPIPE, SIG_DFL);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  if (options.largest_file > 0) {
    signal(SIGXFSZ, SIG_IGN);  // write() then fails with EFBIG
    const rlimit limit{static_cast<rlim_t>(options.largest_file), static_cast<rlim_t>(options.largest_file)};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  for (const char* name : {"INKSTONE_ISA", "NO_COLOR", "LC_ALL", "LC_CTYPE"}) unsetenv(name);
  setenv("TERM", "xterm", 1);
  setenv("LANG", "C.UTF-8", 1);
  setenv("HOME", "/nonexistent", 1);  // no ~/.editrc
  for (const auto& [name, value] : options.variables) setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> argv{const_cast<char*>("inkstone")};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(INKSTONE_BINARY, argv.data());
  _exit(127);
}

int exit_code_of(int status) {
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  return 128 + WTERMSIG(status);
}

struct Pipe {
  int read = -1, write = -1;

  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    read = ends[0];
    write = ends[1];
  }
  ~Pipe() {
    close_end(read);
    close_end(write);
  }
  static void close_end(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
};

// Feeds `input` and collects both streams until both are closed; false when that takes too long.
bool exchange(Pipe& in, Pipe& out, Pipe& err, std::string_view input, Clock::time_point end, Outcome& outcome) {
  fcntl(in.write, F_SETFL, O_NONBLOCK);
  while (out.read >= 0 || err.read >= 0) {
    if (input.empty()) Pipe::close_end(in.write);
    std::array<pollfd, 3> polls{{{in.write, POLLOUT, 0}, {out.read, POLLIN, 0}, {err.read, POLLIN, 0}}};
    if (poll(polls.data(), polls.size(), milliseconds_until(end)) == 0) return false;
    if ((polls[0].revents & (POLLOUT | POLLERR)) != 0) {
      const ssize_t count = write(in.write, input.data(), input.size());
      if (count >= 0)
        input.remove_prefix(static_cast<size_t>(count));
      else if (errno != EAGAIN)
        input = {};  // nobody reads it
    }
    const auto collect = [](pollfd& ready, int& stream, std::string& text) {
      if (ready.revents == 0) return;
      char buffer[1 << 16];
      const ssize_t count = read(stream, buffer, sizeof buffer);
      if (count > 0)
        text.append(buffer, static_cast<size_t>(count));
      else if (count == 0 || errno != EINTR)
        Pipe::close_end(stream);
    };
    collect(polls[1], out.read, outcome.out);
    collect(polls[2], err.read, outcome.err);
  }
  return true;
}

}  // namespace

Outcome run(const Arguments& arguments, const RunOptions& options) {
  signal(SIGPIPE, SIG_IGN);
  Pipe in, out, err;
  const pid_t child = fork();
  if (child == 0) {
    dup2(in.read, STDIN_FILENO);
    dup2(options.output != nullptr ? open(options.output, O_WRONLY) : out.write, STDOUT_FILENO);
    dup2(err.write, STDERR_FILENO);
    become_inkstone(arguments, options);
  }
  Pipe::close_end(in.read);
  Pipe::close_end(out.write);
  Pipe::close_end(err.write);
  Outcome outcome;
  if (!exchange(in, out, err, options.input, after(options.timeout_s), outcome)) {
    outcome.timed_out = true;
    kill(child, SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  outcome.code = exit_code_of(status);
  EXPECT_EQ(outcome.timed_out, options.endless) << "no end within " << options.timeout_s << " s";
  return outcome;
}

Json run_json(const Arguments& arguments, const RunOptions& options) {
  const Outcome outcome = run(arguments, options);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  if (outcome.code != 0) return {};
  try {
    return Json::parse(outcome.out, "standard output");
  } catch (const Error& error) {
    ADD_FAILURE() << error.what() << "\n" << outcome.out;
    return {};
  }
}

TempFolder::TempFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "inkstone-e2e-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
  path_ = pattern;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_text(const std::filesystem::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  EXPECT_TRUE(file.good()) << path;
}

std::string write_model(const TempFolder& parent, const Arguments& flags) {
  std::string folder = parent.file("model");
  for (int i = 2; std::filesystem::exists(folder); ++i) folder = parent.file("model" + std::to_string(i));
  Arguments arguments{"bench", "--write", folder};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const Outcome outcome = run(arguments);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  return folder;
}

Terminal::Terminal(const Arguments& arguments, const RunOptions& options) {
  winsize size{};
  size.ws_row = 40;
  size.ws_col = 200;
  child_ = forkpty(&terminal_, nullptr, nullptr, &size);
  if (child_ == 0) become_inkstone(arguments, options);
  if (child_ < 0) throw std::runtime_error("forkpty");
}

Terminal::~Terminal() {
  if (child_ > 0) {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  if (terminal_ >= 0) close(terminal_);
}

void Terminal::send(std::string_view keys) {
  while (!keys.empty()) {
    const ssize_t count = write(terminal_, keys.data(), keys.size());
    ASSERT_GT(count, 0);
    keys.remove_prefix(static_cast<size_t>(count));
  }
}

bool Terminal::read_some(double timeout_s) {
  pollfd ready{terminal_, POLLIN, 0};
  if (poll(&ready, 1, static_cast<int>(timeout_s * 1000)) <= 0) return false;
  char buffer[4096];
  const ssize_t count = read(terminal_, buffer, sizeof buffer);
  if (count <= 0) return false;  // EIO: the program is gone
  screen_.append(buffer, static_cast<size_t>(count));
  return true;
}

bool Terminal::expect(std::string_view text, double timeout_s) {
  const auto end = after(timeout_s);
  for (;;) {
    if (const size_t at = screen_.find(text, found_); at != std::string::npos) {
      found_ = at + text.size();
      return true;
    }
    if (!read_some(milliseconds_until(end) / 1e3)) return false;
  }
}

void Terminal::settle(double quiet_s) {
  while (read_some(quiet_s)) {
  }
  found_ = screen_.size();
}

int Terminal::wait(double timeout_s) {
  const auto end = after(timeout_s);
  while (child_ > 0) {
    int status = 0;
    if (waitpid(child_, &status, WNOHANG) == child_) {
      code_ = exit_code_of(status);
      child_ = -1;
    } else if (Clock::now() > end) {
      return -1;
    } else {
      read_some(0.02);
    }
  }
  while (read_some(0)) {
  }
  return code_;
}

bool Terminal::is_sane() const {
  termios mode{};
  if (tcgetattr(terminal_, &mode) != 0) return false;
  return (mode.c_lflag & ICANON) != 0 && (mode.c_lflag & ECHO) != 0 && (mode.c_lflag & ISIG) != 0;
}

}  // namespace inkstone::e2e
