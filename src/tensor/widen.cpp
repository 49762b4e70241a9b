#include "tensor/widen.h"

#include <cstring>

#include "base/float16.h"

namespace inkstone {

void widen(const ConstTensor& x, std::span<float> out) {
  CHECK(static_cast<int64_t>(out.size()) == x.shape.elements());
  if (x.dtype == DType::f32) {
    if (!out.empty()) std::memcpy(out.data(), x.data, out.size_bytes());
    return;
  }
  CHECK(x.dtype == DType::bf16 || x.dtype == DType::f16);
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, x.data + 2 * i, sizeof bits);
    out[i] = x.dtype == DType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
  }
}

}  // namespace inkstone
