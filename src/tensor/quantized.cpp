#include "tensor/quantized.h"

namespace inkstone {
namespace {

// Slab e of the outermost of three dimensions.
ConstTensor slab(const ConstTensor& stack, int64_t e) {
  if (stack.empty()) return {};
  const Shape shape{stack.shape[1], stack.shape[2]};
  return {stack.data + e * shape.elements() * dtype_size(stack.dtype), stack.dtype, shape};
}

}  // namespace

WeightView WeightView::expert(int64_t e) const {
  CHECK(e >= 0 && e < experts);
  if (!parts.empty()) return parts[static_cast<size_t>(e)];
  WeightView view;
  view.out = out;
  view.in = in;
  view.quantization = quantization;
  view.weight = slab(weight, e);
  view.scales = slab(scales, e);
  view.biases = slab(biases, e);
  return view;
}

size_t WeightView::bytes() const {
  size_t total = 0;
  for (const ConstTensor* tensor : {&weight, &scales, &biases})
    if (!tensor->empty()) total += tensor->bytes();
  for (const WeightView& part : parts) total += part.bytes();
  return total;
}

}  // namespace inkstone
