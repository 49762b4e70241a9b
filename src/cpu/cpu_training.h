// The CPU behind the training contract. Uses the device's threads and memory: one verb of either at a time.
#pragma once

#include <memory>

#include "cpu/context.h"
#include "cpu/matmul.h"
#include "device/training.h"

namespace inkstone {

std::unique_ptr<TrainingDevice> make_cpu_training(Context& context, Multiplier& multiplier);

}  // namespace inkstone
