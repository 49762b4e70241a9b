#include "train/loss_curve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <span>

namespace inkstone {
namespace {

constexpr double kWidth = 800, kHeight = 440;
constexpr double kLeft = 70, kRight = 780, kTop = 50, kBottom = 390;  // of the plot
constexpr size_t kMaxPoints = 1000;

// No more points than pixels: equal parts of the curve, each its mean.
std::vector<LossPoint> thinned(std::span<const LossPoint> points) {
  std::vector<LossPoint> finite;
  std::copy_if(points.begin(), points.end(), std::back_inserter(finite),
               [](const LossPoint& p) { return std::isfinite(p.loss) && std::abs(p.loss) < 1e30; });
  const size_t part = (finite.size() + kMaxPoints - 1) / kMaxPoints;
  if (part <= 1) return finite;
  std::vector<LossPoint> means;
  for (size_t at = 0; at < finite.size(); at += part) {
    const size_t count = std::min(part, finite.size() - at);
    LossPoint mean{finite[at + count - 1].iteration, 0};
    for (size_t i = at; i < at + count; ++i) mean.loss += finite[i].loss / static_cast<double>(count);
    means.push_back(mean);
  }
  return means;
}

// An axis from `low` to `high`, which are multiples of `step` and hold all the data; step is 1, 2 or 5 times a power
// of 10.
struct Axis {
  double low = 0, high = 1, step = 1;
  int decimals = 0;

  Axis(double least, double most, int ticks, double smallest_step) {
    if (!(most > least)) {  // one value, or none
      const double margin = std::max(std::abs(least) * 0.1, smallest_step);
      least -= margin;
      most += margin;
    }
    const double rough = (most - least) / ticks;
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    step = power * (rough <= power ? 1 : rough <= 2 * power ? 2 : rough <= 5 * power ? 5 : 10);
    step = std::max(step, smallest_step);
    low = std::floor(least / step) * step;
    high = std::ceil(most / step) * step;
    decimals = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 12);
  }

  int count() const { return static_cast<int>(std::lround((high - low) / step)) + 1; }
  double tick(int i) const { return low + i * step; }
  double share(double value) const { return (value - low) / (high - low); }
};

double x_of(const Axis& axis, double iteration) { return kLeft + axis.share(iteration) * (kRight - kLeft); }
double y_of(const Axis& axis, double loss) { return kBottom - axis.share(loss) * (kBottom - kTop); }

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      default: out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

constexpr const char* kStyle =
    "<style>\n"
    "  svg { background: #ffffff; font: 13px system-ui, sans-serif; }\n"
    "  text { fill: #333333; }\n"
    "  .title { font-size: 16px; font-weight: 600; }\n"
    "  .grid { stroke: #e2e2e2; }\n"
    "  .axis { stroke: #888888; }\n"
    "  .line { fill: none; stroke-width: 2; stroke-linejoin: round; }\n"
    "  .train { stroke: #1f6fb4; }\n"
    "  .validation { stroke: #c8501e; }\n"
    "  circle.validation { fill: #c8501e; }\n"
    "  circle.train { fill: #1f6fb4; }\n"
    "  @media (prefers-color-scheme: dark) {\n"
    "    svg { background: #16181c; }\n"
    "    text { fill: #d6d6d6; }\n"
    "    .grid { stroke: #2c3038; }\n"
    "    .axis { stroke: #7a7f88; }\n"
    "    .train { stroke: #6cb2ee; }\n"
    "    .validation { stroke: #f2905e; }\n"
    "    circle.validation { fill: #f2905e; }\n"
    "    circle.train { fill: #6cb2ee; }\n"
    "  }\n"
    "</style>\n";

void draw_axes(const Axis& x, const Axis& y, std::string& svg) {
  const auto out = std::back_inserter(svg);
  for (int i = 0; i < y.count(); ++i) {
    const double at = y_of(y, y.tick(i));
    fmt::format_to(out, "<line class=\"grid\" x1=\"{}\" y1=\"{:.1f}\" x2=\"{}\" y2=\"{:.1f}\"/>\n", kLeft, at, kRight,
                   at);
    // -0.0 would be said as such.
    const double value = std::abs(y.tick(i)) < y.step / 2 ? 0 : y.tick(i);
    fmt::format_to(out, "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.{}f}</text>\n", kLeft - 8, at + 4, value,
                   y.decimals);
  }
  for (int i = 0; i < x.count(); ++i) {
    const double at = x_of(x, x.tick(i));
    fmt::format_to(out, "<line class=\"axis\" x1=\"{:.1f}\" y1=\"{}\" x2=\"{:.1f}\" y2=\"{}\"/>\n", at, kBottom, at,
                   kBottom + 5);
    fmt::format_to(out, "<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.0f}</text>\n", at, kBottom + 20,
                   x.tick(i));
  }
  fmt::format_to(out, "<line class=\"axis\" x1=\"{0}\" y1=\"{1}\" x2=\"{2}\" y2=\"{1}\"/>\n", kLeft, kBottom, kRight);
  fmt::format_to(out, "<line class=\"axis\" x1=\"{0}\" y1=\"{1}\" x2=\"{0}\" y2=\"{2}\"/>\n", kLeft, kTop, kBottom);
  fmt::format_to(out, "<text x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"middle\">iteration</text>\n", (kLeft + kRight) / 2,
                 kHeight - 10);
  fmt::format_to(out,
                 "<text transform=\"translate(18 {:.0f}) rotate(-90)\" text-anchor=\"middle\">loss (nats a token)"
                 "</text>\n",
                 (kTop + kBottom) / 2);
}

void draw_curve(const std::vector<LossPoint>& points, const char* name, const Axis& x, const Axis& y, bool dots,
                std::string& svg) {
  if (points.empty()) return;
  const auto out = std::back_inserter(svg);
  fmt::format_to(out, "<polyline class=\"line {}\" points=\"", name);
  for (const LossPoint& p : points)
    fmt::format_to(out, "{:.1f},{:.1f} ", x_of(x, static_cast<double>(p.iteration)), y_of(y, p.loss));
  svg.back() = '"';
  svg += "/>\n";
  if (!dots && points.size() > 1) return;  // a line of one point shows nothing
  for (const LossPoint& p : points)
    fmt::format_to(out, "<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"><title>{}: {:.4f}</title></circle>\n",
                   name, x_of(x, static_cast<double>(p.iteration)), y_of(y, p.loss), p.iteration, p.loss);
}

void draw_legend(bool has_train, bool has_validation, std::string& svg) {
  double at = kRight - 190;
  const auto entry = [&](const char* name) {
    fmt::format_to(std::back_inserter(svg),
                   "<line class=\"line {0}\" x1=\"{1:.0f}\" y1=\"26\" x2=\"{2:.0f}\" y2=\"26\"/>"
                   "<text x=\"{3:.0f}\" y=\"30\">{0}</text>\n",
                   name, at, at + 22, at + 28);
    at += 90;
  };
  if (has_train) entry("train");
  if (has_validation) entry("validation");
}

}  // namespace

std::string loss_curve_svg(const LossHistory& history, std::string_view title) {
  const std::vector<LossPoint> train = thinned(history.train), validation = thinned(history.validation);
  double least = std::numeric_limits<double>::infinity(), most = -least;
  double first = least, last = most;
  for (const auto* points : {&train, &validation})
    for (const LossPoint& p : *points) {
      least = std::min(least, p.loss);
      most = std::max(most, p.loss);
      first = std::min(first, static_cast<double>(p.iteration));
      last = std::max(last, static_cast<double>(p.iteration));
    }
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\">\n"
      "<title>{2}</title>\n{3}<text class=\"title\" x=\"{4}\" y=\"30\">{2}</text>\n",
      kWidth, kHeight, escaped(title), kStyle, kLeft);
  if (!(least <= most)) {
    svg += "<text x=\"400\" y=\"220\" text-anchor=\"middle\">no losses yet</text>\n</svg>\n";
    return svg;
  }
  const Axis x(first, last, 8, 1), y(least, most, 6, 1e-9);
  draw_axes(x, y, svg);
  draw_curve(train, "train", x, y, false, svg);
  draw_curve(validation, "validation", x, y, validation.size() <= 100, svg);
  draw_legend(!train.empty(), !validation.empty(), svg);
  return svg + "</svg>\n";
}

}  // namespace inkstone
