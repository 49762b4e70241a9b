// Random inputs and plain double-precision references for the CPU tests. Nothing here shares code with src/cpu.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "device/device.h"

namespace inkstone::testing {

std::vector<float> random_floats(std::mt19937& rng, int64_t count, float scale = 1.0f);

// A weight in one of the file's formats.
struct WeightSpec {
  QuantMode mode = QuantMode::none;
  int bits = 0;
  int group = 0;
  // The fewest columns of which a row may have any multiple.
  int unit() const { return mode == QuantMode::affine ? std::max(group, 32) : group == 0 ? 1 : group; }
  DType dtype = DType::bf16;  // of a plain weight, or of affine scales and biases
  std::string name() const;
};

// Every format that a checkpoint may hold.
std::vector<WeightSpec> all_weight_specs();

// Random codes and scales, where a file would have them: unaligned, and with a page behind the last byte that faults
// when it is read: kernels must not look beyond a mapped file.
struct TestWeight {
  TestWeight(std::mt19937& rng, const WeightSpec& spec, int64_t out, int64_t in, int64_t experts = 0);

  WeightView view;
  std::vector<double> dense;  // [max(experts, 1), out, in], decoded on its own here

 private:
  ConstTensor store(const std::vector<uint8_t>& bytes, DType dtype, Shape shape);
  std::vector<Buffer> memory_;
};

Tensor matrix(std::vector<float>& values, int64_t rows, int64_t columns);

// y and the sum of |x||w| behind each y: what an error is measured against.
struct DenseResult {
  std::vector<double> y, magnitude;
};
DenseResult dense_product(const std::vector<float>& x, int64_t rows, const double* w, int64_t out, int64_t in);

// Largest |y - expected| / (magnitude + floor) over all elements.
double relative_error(const std::vector<float>& y, const DenseResult& expected, double floor = 1e-6);

Lora random_lora(std::mt19937& rng, Device& device, int64_t out, int64_t in, int rank, bool dora, int64_t experts = 0);

// Every table that this machine supports; those without a matrix unit, for what a table with one takes from another.
std::vector<std::string> isa_names();
std::vector<std::string> vector_isa_names();
std::unique_ptr<Device> open_test_device(const std::string& isa, int threads, Precision precision = Precision::f32,
                                         int kv_bits = 0, int kv_group_size = 64);

}  // namespace inkstone::testing
