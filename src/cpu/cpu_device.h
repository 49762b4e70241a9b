// The CPU behind the device contract. Weights stay mapped in the file's own layout; activations are float32.
#pragma once

#include <memory>

#include "device/device.h"

namespace inkstone {

std::unique_ptr<Device> open_cpu_device(const DeviceOptions& options);

}  // namespace inkstone
