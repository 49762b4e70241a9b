#include "train/loss_curve.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/plot.h"

namespace inkstone {
namespace {

constexpr size_t kMaxPoints = 1000;

// No more points than pixels: equal parts of the curve, each its mean.
std::vector<PlotPoint> thinned(std::span<const LossPoint> points) {
  std::vector<PlotPoint> finite;
  for (const LossPoint& p : points)
    if (std::isfinite(p.loss) && std::abs(p.loss) < 1e30) finite.push_back({static_cast<double>(p.iteration), p.loss});
  const size_t part = (finite.size() + kMaxPoints - 1) / kMaxPoints;
  if (part <= 1) return finite;
  std::vector<PlotPoint> means;
  for (size_t at = 0; at < finite.size(); at += part) {
    const size_t count = std::min(part, finite.size() - at);
    PlotPoint mean{finite[at + count - 1].x, 0};
    for (size_t i = at; i < at + count; ++i) mean.y += finite[i].y / static_cast<double>(count);
    means.push_back(mean);
  }
  return means;
}

}  // namespace

std::string loss_curve_svg(const LossHistory& history, const std::string& title) {
  std::vector<PlotPoint> train = thinned(history.train), validation = thinned(history.validation);
  const bool few = validation.size() <= 100;
  return plot_svg({.title = title,
                   .x_label = "iteration",
                   .y_label = "loss (nats a token)",
                   .least_x_step = 1,
                   .series = {{"train", std::move(train)}, {"validation", std::move(validation), true, few}}});
}

}  // namespace inkstone
