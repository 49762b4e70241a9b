#include "train/metrics.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "format/atomic_file.h"

namespace inkstone {
namespace {

constexpr size_t kMaxLineBytes = 1 << 16;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(); }

void add(const Json& line, const char* key, std::vector<LossPoint>& points) {
  const Json* iteration = line.find("iteration");
  const Json* loss = line.find(key);
  if (iteration != nullptr && iteration->is_int() && loss != nullptr && loss->is_number())
    points.push_back({iteration->as_int(), loss->as_double()});
}

// Calls use(line, its JSON) for each whole line that says something.
template <class Use>
void for_each_line(const std::filesystem::path& path, Use use) {
  const MappedFile file(path);
  std::string_view rest = file.text();
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) break;  // cut off
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}: line {}", path.string(), number);
    if (line.size() > kMaxLineBytes)
      fail(Errc::bad_file, "{}: found {} bytes, expected at most {}", where, line.size(), kMaxLineBytes);
    use(line, Json::parse(line, where));
  }
}

}  // namespace

MetricsFile::MetricsFile(const std::filesystem::path& path) : path_(path), file_(std::fopen(path.c_str(), "ab")) {
  if (file_ == nullptr) fail(Errc::io, "{}: cannot open: {}", path.string(), std::strerror(errno));
}

MetricsFile::~MetricsFile() { std::fclose(file_); }

void MetricsFile::append_line(const std::string& line) {
  if (std::fputs(line.c_str(), file_) < 0 || std::fputc('\n', file_) == EOF || std::fflush(file_) != 0)
    fail(Errc::io, "{}: cannot write: {}", path_.string(), std::strerror(errno));
}

void MetricsFile::append(const TrainMetrics& metrics) {
  Json line;
  line["iteration"] = metrics.iteration;
  line["train_loss"] = number(metrics.train_loss);
  line["learning_rate"] = number(metrics.learning_rate);
  line["iterations_per_second"] = number(metrics.iterations_per_second);
  line["tokens_per_second"] = number(metrics.tokens_per_second);
  line["trained_tokens"] = metrics.trained_tokens;
  line["peak_memory"] = number(metrics.peak_memory);
  append_line(line.dump());
}

void MetricsFile::append(const ValidationMetrics& metrics) {
  Json line;
  line["iteration"] = metrics.iteration;
  line["val_loss"] = number(metrics.val_loss);
  line["val_time"] = number(metrics.val_time);
  append_line(line.dump());
}

void keep_metrics(const std::filesystem::path& path, int64_t iterations) {
  if (std::error_code error; !std::filesystem::exists(path, error)) return;
  std::string kept;
  if (iterations > 0)
    for_each_line(path, [&](std::string_view line, const Json& json) {
      const Json* iteration = json.find("iteration");
      if (iteration != nullptr && iteration->is_int() && iteration->as_int() <= iterations) (kept += line) += '\n';
    });
  write_file_atomically(path, kept);
}

LossHistory load_metrics(const std::filesystem::path& path) {
  LossHistory history;
  for_each_line(path, [&](std::string_view, const Json& json) {
    add(json, "train_loss", history.train);
    add(json, "val_loss", history.validation);
  });
  return history;
}

}  // namespace inkstone
