// The matrices of quant/: "affine.b4.g64.weight", ".scales" and ".biases", "mxfp4.weight" and ".scales".
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "format/quantization.h"
#include "format/safetensors.h"

namespace inkstone {

// "affine.b4.g64", "mxfp4": what the fixture calls a quantisation.
inline Quantization parse_quant_name(const std::string& name) {
  int bits = 0, group = 0;
  if (std::sscanf(name.c_str(), "affine.b%d.g%d", &bits, &group) == 2) return {QuantMode::affine, bits, group};
  return default_quantization(quant_mode_of(name).value_or(QuantMode::none));
}

inline WeightView quant_matrix(const Safetensors& file, const std::string& name) {
  WeightView view;
  view.name = name;
  view.quantization = parse_quant_name(name);
  EXPECT_EQ(quantization_problem(view.quantization), "") << name;
  EXPECT_NE(view.quantization.mode, QuantMode::none) << name;
  view.weight = *file.find(name + ".weight");
  view.scales = *file.find(name + ".scales");
  if (const ConstTensor* biases = file.find(name + ".biases")) view.biases = *biases;
  view.out = view.weight.shape[0];
  view.in = view.scales.shape[1] * view.quantization.group_size;
  return view;
}

}  // namespace inkstone
