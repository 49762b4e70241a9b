// Products of activations with weights, spread over threads: few rows stream the weights once past all rows, many
// rows dequantise panels and multiply them in registers' tiles, or in the matrix unit where there is one
// (tile_multiply.h). docs/kernels.md describes them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpu/context.h"
#include "cpu/tile_multiply.h"
#include "device/linear.h"

namespace inkstone {

// A product with a weight that may have an adapter.
struct LinearProduct {
  const Linear* linear;
  int64_t expert;  // of a stack; -1 for a single matrix
  Activations x;
  float* y;
  int64_t y_stride;
};

class Multiplier {
 public:
  explicit Multiplier(Context& context) : context_(context), tiles_(context) {}

  // All products, at once: they must not write what another reads.
  void multiply(std::span<const Product> products);
  // The same with adapters; y += when `add`.
  void multiply(std::span<const LinearProduct> products, bool add);
  TileMultiplier& tiles() { return tiles_; }

 private:
  // Activations as the kernels want them; products with the same ones share them.
  struct Input {
    size_t product;      // the first that uses it
    int64_t offset;      // floats into Scratch::inputs
    int64_t stride;      // floats between rows (few rows) or panels (many)
    int64_t first_unit;  // of the work of preparing
    int64_t units;
  };
  struct Task {
    size_t product;
    int64_t begin, end;  // rows of the weight
  };

  void multiply_in_vectors(std::span<const Product> products);
  // Precision::fast multiplies few rows as 16-bit integers where the weight is of integers.
  bool integers(const Product& p) const;
  // The kernel reads the weights as they are; else panels are dequantised first.
  bool direct(const Product& p) const { return integers(p) || p.x.rows <= kGemvRows; }
  void prepare_inputs(std::span<const Product> products);
  void prepare_unit(const Product& product, const Input& input, int64_t unit, float* out) const;
  void plan_tasks(std::span<const Product> products);
  void run_direct(const Product& product, const Input& input, const Task& task, float* scratch) const;
  void run_many(const Product& product, const Input& input, const Task& task, float* scratch) const;
  void apply_magnitudes(std::span<const LinearProduct> products, bool add, float* increments);

  Context& context_;
  TileMultiplier tiles_;
  std::vector<Input> inputs_;
  std::vector<size_t> input_of_;  // by product
  std::vector<Task> tasks_;
  bool spread_ = false;
  std::vector<Product> first_, second_;
  std::vector<Product> in_vectors_, in_tiles_;
};

}  // namespace inkstone
