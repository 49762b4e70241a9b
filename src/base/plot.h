// plot_svg: a picture of one or two series of numbers. One SVG without scripts, fonts or other files; light or dark as
// the reader's system prefers. A pure function.
#pragma once

#include <string>
#include <vector>

namespace inkstone {

struct PlotPoint {
  double x = 0, y = 0;
  std::string label{};  // beside the point; "" for none
};

struct PlotSeries {
  std::string name;  // in the legend; "" for none
  std::vector<PlotPoint> points;
  bool line = true;
  bool dots = false;
};

struct Plot {
  std::string title, x_label, y_label;
  double least_x_step = 1e-9;      // between two ticks: 1 where x counts something
  std::vector<PlotSeries> series;  // two at most
};

// Points that are not finite are left out; texts are escaped.
std::string plot_svg(Plot plot);

}  // namespace inkstone
