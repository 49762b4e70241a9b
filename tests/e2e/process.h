// What the end-to-end tests drive: the program itself, through pipes or on a terminal of its own, and folders of models
// that it wrote. Children get a clean environment (no INKSTONE_ISA, no NO_COLOR, no core files) and are killed when
// they take too long. One thread.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace inkstone::e2e {

using Arguments = std::vector<std::string>;

struct RunOptions {
  std::string input{};                                           // standard input
  std::vector<std::pair<std::string, std::string>> variables{};  // of the environment
  double timeout_s = 60;
  bool endless = false;          // it is to be killed at the end of its time
  const char* output = nullptr;  // where standard output goes instead of Outcome::out
  int64_t largest_file = 0;      // writing more into one fails, as it does on a full disk; 0: no limit
};

struct Outcome {
  int code = -1;  // exit code; 128 + signal where one ended it
  bool timed_out = false;
  std::string out, err;
};

// Runs `inkstone ARGUMENTS` to its end.
Outcome run(const Arguments& arguments, const RunOptions& options = {});

// The same, expected to succeed and to print one JSON object; a null value (and a failed test) otherwise.
Json run_json(const Arguments& arguments, const RunOptions& options = {});

// A folder that is gone with its object.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string file(std::string_view name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string read_text(const std::filesystem::path& path);
void write_text(const std::filesystem::path& path, std::string_view text);

// A model folder in `parent` that `inkstone bench --write` made; returns its path.
std::string write_model(const TempFolder& parent,
                        const Arguments& flags = {"--shape", "tiny", "--bits", "4", "--group-size", "32"});

// Changes one JSON file of a model folder.
template <class Change>
void edit_json(const std::string& folder, std::string_view name, Change change) {
  const std::filesystem::path path = std::filesystem::path(folder) / name;
  Json json = Json::parse(read_text(path), path.string());
  change(json);
  write_text(path, json.dump(2));
}

// The program on a pseudo-terminal: what a user at a keyboard sees.
class Terminal {
 public:
  explicit Terminal(const Arguments& arguments, const RunOptions& options = {});
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void send(std::string_view keys);
  // Waits until `text` appears after what earlier calls have found. False when it does not within `timeout_s`.
  bool expect(std::string_view text, double timeout_s = 20);
  // Reads what comes within `timeout_s`, at most one piece.
  void drain(double timeout_s) { read_some(timeout_s); }
  // Waits until the program has written nothing for `quiet_s`.
  void settle(double quiet_s = 0.3);
  // Waits for the program to end; its exit code as in Outcome, -1 when it does not.
  int wait(double timeout_s = 20);
  // Whether the terminal is as it was before the program: lines are edited by the system, and keys are echoed.
  bool is_sane() const;
  // All that the terminal got.
  const std::string& screen() const { return screen_; }

 private:
  bool read_some(double timeout_s);

  pid_t child_ = -1;
  int terminal_ = -1;
  int code_ = -1;
  std::string screen_;
  size_t found_ = 0;  // the end of what expect() found last
};

inline constexpr std::string_view kCtrlC = "\x03";
inline constexpr std::string_view kCtrlD = "\x04";
inline constexpr std::string_view kUp = "\x1b[A";

}  // namespace inkstone::e2e
