// Frequencies of the rotary position embedding that a configuration asks for.
#pragma once

#include "device/device.h"
#include "format/model_config.h"

namespace inkstone {

// Plain RoPE: theta^(-2i/d). With rope_scaling "yarn": YaRN (Peng et al. 2023, arXiv:2309.00071, sections 3.2 to 3.4):
// low frequencies are divided by the factor, high ones kept, those between blended; q and k grow by its temperature.
Rope make_rope(const ModelConfig& config);

}  // namespace inkstone
