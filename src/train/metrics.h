// metrics.jsonl: what a training reports, one JSON object a line, with the names of mlx_lm's callbacks. Each line is in
// the file when the call returns, so that others can follow and a training that dies leaves what it had.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <vector>

namespace inkstone {

struct TrainMetrics {
  int64_t iteration = 0;  // from 1
  double train_loss = 0;  // mean of the iterations since the last report, nats a token
  double learning_rate = 0;
  double iterations_per_second = 0;
  double tokens_per_second = 0;
  int64_t trained_tokens = 0;  // since the beginning
  double peak_memory = 0;      // 10^9 bytes, as mlx_lm gives it
};

struct ValidationMetrics {
  int64_t iteration = 0;  // iterations done before it: 0 is the untouched model
  double val_loss = 0;    // nats a token
  double val_time = 0;    // seconds
};

class MetricsFile {
 public:
  // Appends to the file, which is made if it is not there. Throws Error(io).
  explicit MetricsFile(const std::filesystem::path& path);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  // Write a line. Numbers that are not finite become null, as JSON has no other word. Throw Error(io).
  void append(const TrainMetrics& metrics);
  void append(const ValidationMetrics& metrics);

 private:
  void append_line(const std::string& line);

  std::filesystem::path path_;
  std::FILE* file_ = nullptr;
};

// Before a training goes on after `iterations`: drops the lines of later ones, a cut off one, and with 0 all. No file
// is fine. Throws Error(io), Error(bad_file).
void keep_metrics(const std::filesystem::path& path, int64_t iterations);

// A point of a curve.
struct LossPoint {
  int64_t iteration = 0;
  double loss = 0;
};

struct LossHistory {
  std::vector<LossPoint> train, validation;  // in file order
};

// The losses of such a file; lines without any, and a last one that was cut off, are left out. Throws Error(not_found),
// Error(bad_file) with the line.
LossHistory load_metrics(const std::filesystem::path& path);

}  // namespace inkstone
