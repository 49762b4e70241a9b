#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace inkstone {
namespace {

// The dimension whose wavelength fits `rotations` times into the original context.
double correction_dim(double rotations, int dims, double theta, int context) {
  return dims * std::log(context / (rotations * 2 * std::numbers::pi)) / (2 * std::log(theta));
}

double yarn_mscale(double factor, double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

}  // namespace

Rope make_rope(const ModelConfig& config) {
  const int dims = config.head_dim;
  const int half = dims / 2;
  Rope rope;
  rope.inverse_frequencies.resize(static_cast<size_t>(half));
  for (int i = 0; i < half; ++i)
    rope.inverse_frequencies[static_cast<size_t>(i)] = std::pow(config.rope_theta, -2.0 * i / dims);
  if (!config.rope_scaling) return rope;

  const YarnScaling& yarn = *config.rope_scaling;
  if (config.rope_theta <= 1)
    fail(Errc::bad_file, "rope_theta: found {}, expected more than 1 with yarn", config.rope_theta);
  const int context = yarn.original_max_position_embeddings;
  const double low = std::max(std::floor(correction_dim(yarn.beta_fast, dims, config.rope_theta, context)), 0.0);
  double high = std::min(std::ceil(correction_dim(yarn.beta_slow, dims, config.rope_theta, context)), dims - 1.0);
  if (low == high) high += 0.001;
  for (int i = 0; i < half; ++i) {
    const double interpolated = std::clamp((i - low) / (high - low), 0.0, 1.0);  // 0 keeps the frequency
    double& frequency = rope.inverse_frequencies[static_cast<size_t>(i)];
    frequency = frequency / yarn.factor * interpolated + frequency * (1 - interpolated);
  }
  rope.attention_factor = yarn.attention_factor.value_or(yarn_mscale(yarn.factor, yarn.mscale) /
                                                         yarn_mscale(yarn.factor, yarn.mscale_all_dim));
  return rope;
}

}  // namespace inkstone
