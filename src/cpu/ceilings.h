// What this machine can do at most: read bandwidth, and each arithmetic unit with its operands in registers.
#pragma once

#include "cpu/context.h"
#include "device/device.h"

namespace inkstone {

// With all threads of the context. A second or so; its memory is returned before it ends.
Ceilings measure_ceilings(Context& context, Precision precision);

}  // namespace inkstone
