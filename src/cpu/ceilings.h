// What this machine can do at most: read bandwidth, and each arithmetic unit with its operands in registers.
#pragma once

#include "cpu/context.h"
#include "device/device.h"

namespace inkstone {

// Both of the below. A second or so.
Ceilings measure_ceilings(Context& context, Precision precision);

// With all threads of the context, from memory that the caches cannot hold: the best of several ways to read it. The
// memory is returned.
double measure_read_gbps(Context& context);

// Every unit that the machine has; of the vectors' float32 that of these kernels' instruction set.
std::vector<UnitPeak> measure_units(ThreadPool& pool, const Kernels& kernels, Precision precision);

}  // namespace inkstone
