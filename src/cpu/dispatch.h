// Which kernels this machine can run, and which one is asked for.
#pragma once

#include <span>
#include <string>

#include "cpu/kernels.h"

namespace inkstone {

// The tables that were compiled in and that processor and system support, slowest first. Tests and benches walk it.
std::span<const Kernels* const> supported_kernels();

// The table of that name; "": INKSTONE_ISA if set, else the fastest. Throws Error(usage) naming what there is.
const Kernels& select_kernels(const std::string& isa);

}  // namespace inkstone
