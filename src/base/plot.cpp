#include "base/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <string_view>

#include "base/error.h"

namespace inkstone {
namespace {

constexpr double kWidth = 800, kHeight = 440;
constexpr double kLeft = 70, kRight = 780, kTop = 50, kBottom = 390;  // of the plot
constexpr const char* kClasses[] = {"first", "second"};

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

struct Axes {
  Axis x, y;
  double left(double value) const { return kLeft + x.share(value) * (kRight - kLeft); }
  double top(double value) const { return kBottom - y.share(value) * (kBottom - kTop); }
};

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
    "  .first { stroke: #1f6fb4; }\n"
    "  .second { stroke: #c8501e; }\n"
    "  circle.second { fill: #c8501e; }\n"
    "  circle.first { fill: #1f6fb4; }\n"
    "  @media (prefers-color-scheme: dark) {\n"
    "    svg { background: #16181c; }\n"
    "    text { fill: #d6d6d6; }\n"
    "    .grid { stroke: #2c3038; }\n"
    "    .axis { stroke: #7a7f88; }\n"
    "    .first { stroke: #6cb2ee; }\n"
    "    .second { stroke: #f2905e; }\n"
    "    circle.second { fill: #f2905e; }\n"
    "    circle.first { fill: #6cb2ee; }\n"
    "  }\n"
    "</style>\n";

std::string tick_text(const Axis& axis, int i) {
  // -0.0 would be said as such.
  return fmt::format("{:.{}f}", std::abs(axis.tick(i)) < axis.step / 2 ? 0 : axis.tick(i), axis.decimals);
}

void draw_axes(const Axes& axes, const Plot& plot, std::string& svg) {
  const auto out = std::back_inserter(svg);
  for (int i = 0; i < axes.y.count(); ++i) {
    const double at = axes.top(axes.y.tick(i));
    fmt::format_to(out, "<line class=\"grid\" x1=\"{}\" y1=\"{:.1f}\" x2=\"{}\" y2=\"{:.1f}\"/>\n", kLeft, at, kRight,
                   at);
    fmt::format_to(out, "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", kLeft - 8, at + 4,
                   tick_text(axes.y, i));
  }
  for (int i = 0; i < axes.x.count(); ++i) {
    const double at = axes.left(axes.x.tick(i));
    fmt::format_to(out, "<line class=\"axis\" x1=\"{:.1f}\" y1=\"{}\" x2=\"{:.1f}\" y2=\"{}\"/>\n", at, kBottom, at,
                   kBottom + 5);
    fmt::format_to(out, "<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", at, kBottom + 20,
                   tick_text(axes.x, i));
  }
  fmt::format_to(out, "<line class=\"axis\" x1=\"{0}\" y1=\"{1}\" x2=\"{2}\" y2=\"{1}\"/>\n", kLeft, kBottom, kRight);
  fmt::format_to(out, "<line class=\"axis\" x1=\"{0}\" y1=\"{1}\" x2=\"{0}\" y2=\"{2}\"/>\n", kLeft, kTop, kBottom);
  fmt::format_to(out, "<text x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"middle\">{}</text>\n", (kLeft + kRight) / 2,
                 kHeight - 10, escaped(plot.x_label));
  fmt::format_to(out, "<text transform=\"translate(18 {:.0f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                 (kTop + kBottom) / 2, escaped(plot.y_label));
}

void draw_series(const PlotSeries& series, const char* css, const Axes& axes, std::string& svg) {
  if (series.points.empty()) return;
  const auto out = std::back_inserter(svg);
  if (series.line) {
    fmt::format_to(out, "<polyline class=\"line {}\" points=\"", css);
    for (const PlotPoint& p : series.points) fmt::format_to(out, "{:.1f},{:.1f} ", axes.left(p.x), axes.top(p.y));
    svg.back() = '"';
    svg += "/>\n";
    if (!series.dots && series.points.size() > 1) return;  // a line of one point shows nothing
  }
  for (const PlotPoint& p : series.points) {
    const double x = axes.left(p.x), y = axes.top(p.y);
    fmt::format_to(out, "<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"><title>{}: {:.4f}</title></circle>\n",
                   css, x, y, p.label.empty() ? fmt::format("{}", p.x) : escaped(p.label), p.y);
    const bool at_right = x > (kLeft + kRight) / 2;  // its label would leave the picture
    if (!p.label.empty())
      fmt::format_to(out, "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", at_right ? x - 7 : x + 7,
                     y - 6, at_right ? "end" : "start", escaped(p.label));
  }
}

void draw_legend(const Plot& plot, std::string& svg) {
  double at = kRight - 190;
  for (size_t i = 0; i < plot.series.size(); ++i) {
    const PlotSeries& series = plot.series[i];
    if (series.name.empty() || series.points.empty()) continue;
    fmt::format_to(std::back_inserter(svg),
                   "<line class=\"line {}\" x1=\"{:.0f}\" y1=\"26\" x2=\"{:.0f}\" y2=\"26\"/>"
                   "<text x=\"{:.0f}\" y=\"30\">{}</text>\n",
                   kClasses[i], at, at + 22, at + 28, escaped(series.name));
    at += 90;
  }
}

}  // namespace

std::string plot_svg(Plot plot) {
  CHECK(plot.series.size() <= std::size(kClasses));
  const double infinity = std::numeric_limits<double>::infinity();
  double left = infinity, right = -infinity, least = infinity, most = -infinity;
  for (PlotSeries& series : plot.series) {
    std::erase_if(series.points, [](const PlotPoint& p) {
      return !std::isfinite(p.x) || !std::isfinite(p.y) || std::abs(p.x) > 1e30 || std::abs(p.y) > 1e30;
    });
    for (const PlotPoint& p : series.points) {
      left = std::min(left, p.x);
      right = std::max(right, p.x);
      least = std::min(least, p.y);
      most = std::max(most, p.y);
    }
  }
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\">\n"
      "<title>{2}</title>\n{3}<text class=\"title\" x=\"{4}\" y=\"30\">{2}</text>\n",
      kWidth, kHeight, escaped(plot.title), kStyle, kLeft);
  if (!(least <= most)) {
    svg += "<text x=\"400\" y=\"220\" text-anchor=\"middle\">nothing to show yet</text>\n</svg>\n";
    return svg;
  }
  const Axes axes{Axis(left, right, 8, plot.least_x_step), Axis(least, most, 6, 1e-9)};
  draw_axes(axes, plot, svg);
  for (size_t i = 0; i < plot.series.size(); ++i) draw_series(plot.series[i], kClasses[i], axes, svg);
  draw_legend(plot, svg);
  return svg + "</svg>\n";
}

}  // namespace inkstone
