// Tensor and ConstTensor: views of dense row-major elements that somebody else owns (a Buffer, a mapped file).
// Memory may belong to a device and need not be aligned to its element (files are not): code that reads a mapped
// tensor on the host loads with memcpy or unaligned vector loads.
#pragma once

#include <cstddef>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace inkstone {

struct ConstTensor {
  const std::byte* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  size_t bytes() const { return static_cast<size_t>(shape.elements()) * static_cast<size_t>(dtype_size(dtype)); }
  bool empty() const { return data == nullptr; }
  template <class T>
  const T* as() const {
    CHECK(sizeof(T) == static_cast<size_t>(dtype_size(dtype)));
    return reinterpret_cast<const T*>(data);
  }
};

struct Tensor {
  std::byte* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  operator ConstTensor() const { return {data, dtype, shape}; }
  size_t bytes() const { return ConstTensor(*this).bytes(); }
  template <class T>
  T* as() const {
    CHECK(sizeof(T) == static_cast<size_t>(dtype_size(dtype)));
    return reinterpret_cast<T*>(data);
  }
};

}  // namespace inkstone
