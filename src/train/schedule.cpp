#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "base/error.h"

namespace inkstone {
namespace {

constexpr double kMaxSteps = 1e12;

struct Arity {
  size_t least, most;
  const char* names;
};

Arity arity(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::constant: return {1, 1, "init"};
    case ScheduleKind::cosine_decay: return {2, 3, "init, decay_steps, end"};
    case ScheduleKind::linear_schedule: return {3, 3, "init, end, steps"};
    case ScheduleKind::exponential_decay: return {2, 2, "init, decay_rate"};
    case ScheduleKind::step_decay: return {3, 3, "init, decay_rate, step_size"};
  }
  return {0, 0, ""};
}

bool is_rate(double value) { return std::isfinite(value) && value >= 0 && value <= 1e6; }
bool is_step_count(double value) { return value >= 1 && value <= kMaxSteps && value == std::floor(value); }

}  // namespace

const char* schedule_name(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::constant: return "constant";
    case ScheduleKind::cosine_decay: return "cosine_decay";
    case ScheduleKind::linear_schedule: return "linear_schedule";
    case ScheduleKind::exponential_decay: return "exponential_decay";
    case ScheduleKind::step_decay: return "step_decay";
  }
  return "?";
}

std::string schedule_problem(const ScheduleConfig& config) {
  const Arity expected = arity(config.kind);
  const std::vector<double>& a = config.arguments;
  if (a.size() < expected.least || a.size() > expected.most)
    return fmt::format("arguments: found {}, expected {} ({})", a.size(), expected.least, expected.names);
  const auto problem = [&](size_t i, const char* what) {
    return fmt::format("arguments: number {} of {}: found {}, expected {}", i + 1, expected.names, a[i], what);
  };
  const char* const kRate = "a number from 0 to 1e6";
  const char* const kSteps = "a whole number of at least 1";
  for (size_t i = 0; i < a.size(); ++i) {
    const bool steps =
        (config.kind == ScheduleKind::cosine_decay && i == 1) ||
        ((config.kind == ScheduleKind::linear_schedule || config.kind == ScheduleKind::step_decay) && i == 2);
    if (steps ? !is_step_count(a[i]) : !is_rate(a[i])) return problem(i, steps ? kSteps : kRate);
  }
  if (config.warmup < 0 || static_cast<double>(config.warmup) > kMaxSteps)
    return fmt::format("warmup: found {}, expected 0 to {}", config.warmup, kMaxSteps);
  if (!is_rate(config.warmup_init)) return fmt::format("warmup_init: found {}, expected {}", config.warmup_init, kRate);
  return "";
}

LearningRate::LearningRate(double constant) : LearningRate(ScheduleConfig{ScheduleKind::constant, {constant}, 0, 0}) {}

LearningRate::LearningRate(ScheduleConfig config) : config_(std::move(config)) {
  const std::string problem = schedule_problem(config_);
  if (!problem.empty()) fail(Errc::usage, "lr_schedule: {}", problem);
}

float LearningRate::at(int64_t step) const {
  CHECK(step >= 0);
  if (config_.warmup == 0) return static_cast<float>(scheduled(step));
  if (step > config_.warmup) return static_cast<float>(scheduled(step - config_.warmup - 1));
  const double part = static_cast<double>(step) / static_cast<double>(config_.warmup);
  return static_cast<float>(config_.warmup_init + (config_.arguments[0] - config_.warmup_init) * part);
}

double LearningRate::scheduled(int64_t step) const {
  const std::vector<double>& a = config_.arguments;
  const double at = static_cast<double>(step);
  switch (config_.kind) {
    case ScheduleKind::constant: return a[0];
    case ScheduleKind::cosine_decay: {
      const double end = a.size() > 2 ? a[2] : 0;
      return end + (a[0] - end) * 0.5 * (1 + std::cos(std::numbers::pi * std::min(at, a[1]) / a[1]));
    }
    case ScheduleKind::linear_schedule: return a[0] + (a[1] - a[0]) * std::min(at, a[2]) / a[2];
    case ScheduleKind::exponential_decay: return a[0] * std::pow(a[1], at);
    case ScheduleKind::step_decay: return a[0] * std::pow(a[1], std::floor(at / a[2]));
  }
  return 0;
}

}  // namespace inkstone
