// loss_curve_svg: the losses of a training as a picture (base/plot.h). A pure function.
#pragma once

#include <string>

#include "train/metrics.h"

namespace inkstone {

// Of more than a thousand points, neighbours are averaged.
std::string loss_curve_svg(const LossHistory& history, const std::string& title);

}  // namespace inkstone
