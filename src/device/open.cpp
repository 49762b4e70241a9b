#include "cpu/cpu_device.h"
#include "device/device.h"

namespace inkstone {

std::unique_ptr<Device> open_device(const DeviceOptions& options) { return open_cpu_device(options); }

}  // namespace inkstone
