// LearningRate: the learning rate of every step, as mlx.optimizers' schedules and mlx_lm's build_schedule give it.
// A plain value. Steps count the optimiser's updates from 0.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace inkstone {

enum class ScheduleKind : uint8_t { constant, cosine_decay, linear_schedule, exponential_decay, step_decay };

const char* schedule_name(ScheduleKind kind);

// "lr_schedule" of a configuration. Arguments by kind, as mlx.optimizers takes them:
//   cosine_decay      init, decay_steps, end = 0     end + (init - end) (1 + cos(pi min(step, decay_steps) /
//   decay_steps)) / 2 linear_schedule   init, end, steps               init + (end - init) min(step, steps) / steps
//   exponential_decay init, decay_rate               init decay_rate^step
//   step_decay        init, decay_rate, step_size    init decay_rate^floor(step / step_size)
//   constant          init                           (what learning_rate alone means; no name in files)
struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::constant;
  std::vector<double> arguments;
  int64_t warmup = 0;  // steps from warmup_init to init, before the schedule begins
  double warmup_init = 0;
};

// What is wrong with it ("warmup: found -1, expected at least 0"), or "".
std::string schedule_problem(const ScheduleConfig& config);

class LearningRate {
 public:
  explicit LearningRate(double constant);
  // Throws Error(usage) with schedule_problem().
  explicit LearningRate(ScheduleConfig config);

  // Of the update number `step`, counted from 0. The warm-up reaches init at step `warmup`; the schedule itself begins
  // with the step after it, as mlx_lm joins the two.
  float at(int64_t step) const;

 private:
  double scheduled(int64_t step) const;

  ScheduleConfig config_;
};

}  // namespace inkstone
