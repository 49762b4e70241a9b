// Shape: up to kMaxRank dimensions, outermost first. A plain value.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/error.h"

namespace inkstone {

class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) {
    for (const int64_t dim : dims) push_back(dim);
  }

  void push_back(int64_t dim) {
    CHECK(rank_ < kMaxRank && dim >= 0);
    dims_[static_cast<size_t>(rank_++)] = dim;
  }
  int rank() const { return rank_; }
  // Dimension i; a negative i counts from the end.
  int64_t operator[](int i) const {
    const int index = i < 0 ? i + rank_ : i;
    CHECK(index >= 0 && index < rank_);
    return dims_[static_cast<size_t>(index)];
  }
  // Product of all dimensions (1 for a scalar). Parsers must have checked that it fits.
  int64_t elements() const {
    int64_t product = 1;
    for (int i = 0; i < rank_; ++i) product *= dims_[static_cast<size_t>(i)];
    return product;
  }
  friend bool operator==(const Shape&, const Shape&) = default;

  std::string to_string() const {  // "[2, 3]"
    std::string text = "[";
    for (int i = 0; i < rank_; ++i) text += (i ? ", " : "") + std::to_string(dims_[static_cast<size_t>(i)]);
    return text + "]";
  }

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

}  // namespace inkstone
