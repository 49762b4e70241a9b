#include "train/optimizer.h"

#include <cmath>

namespace inkstone {

Optimizer::Optimizer(Parameters& parameters, OptimizerKind kind, const OptimizerConfig& config)
    : parameters_(parameters), training_(parameters.training()), kind_(kind), config_(config) {
  const auto make = [&](const Parameter& parameter) {
    Buffer& buffer = buffers_.emplace_back(parameters.device().allocate(parameter.value.bytes()));
    return buffer.view(DType::f32, parameter.value.shape);
  };
  const bool moments = kind != OptimizerKind::sgd;
  for (const Parameter& parameter : parameters.all()) {
    if (moments || config.momentum != 0) first_.push_back(make(parameter));
    if (moments) second_.push_back(make(parameter));
  }
}

void Optimizer::step(float learning_rate, float gradient_scale) {
  ++steps_;
  for (size_t i = 0; i < parameters_.all().size(); ++i) {
    if (kind_ == OptimizerKind::sgd) {
      descend(i, learning_rate, gradient_scale);
      continue;
    }
    const Parameter& p = parameters_.all()[i];
    training_.adam(p.value, p.gradient, first_[i], second_[i],
                   {.rate = learning_rate,
                    .beta1 = config_.beta1,
                    .beta2 = config_.beta2,
                    .eps = config_.eps,
                    .weight_decay = kind_ == OptimizerKind::adamw ? config_.weight_decay : 0.0f,
                    .correction = config_.bias_correction ? steps_ : 0,
                    .gradient_scale = gradient_scale});
  }
  parameters_.publish();
}

// g += decay value; velocity = momentum velocity + (1 - dampening) g;
// value -= rate (g + momentum velocity with Nesterov's, else velocity).
void Optimizer::descend(size_t i, float learning_rate, float gradient_scale) {
  const Parameter& p = parameters_.all()[i];
  if (config_.weight_decay != 0)
    training_.scale_and_add(p.gradient, gradient_scale, p.value, config_.weight_decay);
  else if (gradient_scale != 1.0f)
    training_.scale_and_add(p.gradient, gradient_scale, p.gradient, 0.0f);
  if (config_.momentum == 0) return training_.scale_and_add(p.value, 1.0f, p.gradient, -learning_rate);
  training_.scale_and_add(first_[i], config_.momentum, p.gradient, 1.0f - config_.dampening);
  if (config_.nesterov) training_.scale_and_add(p.value, 1.0f, p.gradient, -learning_rate);
  training_.scale_and_add(p.value, 1.0f, first_[i], -learning_rate * (config_.nesterov ? config_.momentum : 1.0f));
}

double Optimizer::gradient_norm() const {
  double squares = 0;
  for (const Parameter& parameter : parameters_.all()) squares += training_.sum_of_squares(parameter.gradient);
  return std::sqrt(squares);
}

std::vector<std::pair<std::string, Tensor>> Optimizer::state() const {
  std::vector<std::pair<std::string, Tensor>> state;
  for (size_t i = 0; i < parameters_.all().size(); ++i) {
    const std::string& name = parameters_.all()[i].name;
    if (!first_.empty()) state.emplace_back(name + (second_.empty() ? ".velocity" : ".mean"), first_[i]);
    if (!second_.empty()) state.emplace_back(name + ".square", second_[i]);
  }
  return state;
}

}  // namespace inkstone
