// loss_curve_svg: the losses of a training as a picture. One SVG without scripts, fonts or other files; light or dark
// as the reader's system prefers. A pure function.
#pragma once

#include <string>
#include <string_view>

#include "train/metrics.h"

namespace inkstone {

// Points that are not finite are left out; of more than a thousand, neighbours are averaged. `title` is escaped.
std::string loss_curve_svg(const LossHistory& history, std::string_view title);

}  // namespace inkstone
