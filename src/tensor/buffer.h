// Buffer: owns memory that a device allocated. Zeroed; host buffers are aligned to pages and committed when touched.
#pragma once

#include <utility>

#include "base/system.h"
#include "tensor/tensor.h"

namespace inkstone {

class Buffer {
 public:
  using Release = void (*)(std::byte* data, size_t bytes);

  Buffer() = default;
  Buffer(std::byte* data, size_t bytes, Release release) : data_(data), size_(bytes), release_(release) {}
  // Host memory. Throws Error(out_of_memory).
  static Buffer host(size_t bytes) { return {reserve_memory(bytes), bytes, release_memory}; }
  ~Buffer() {
    if (data_ != nullptr) release_(data_, size_);
  }
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(release_, other.release_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  size_t size() const { return size_; }
  std::byte* data() const { return data_; }
  // The start of the buffer as a tensor. CHECKs that it fits.
  Tensor view(DType dtype, const Shape& shape) const {
    const Tensor tensor{data_, dtype, shape};
    CHECK(tensor.bytes() <= size_);
    return tensor;
  }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  Release release_ = nullptr;
};

}  // namespace inkstone
