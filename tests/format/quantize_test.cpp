#include "format/quantize.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "format/quantization.h"
#include "tests/format/temporary_folder.h"

namespace inkstone {
namespace {

TEST(Quantize, EveryCodeIsItsOwnNearest) {
  for (uint32_t code = 0; code < 16; ++code) EXPECT_EQ(f32_to_e2m1(e2m1_to_f32(code)), code == 8 ? 0 : code);
  for (uint32_t code = 0; code < 0x7f; ++code) {
    EXPECT_EQ(f32_to_e4m3(e4m3_to_f32(code)), code);
    EXPECT_EQ(f32_to_e4m3(e4m3_to_f32(code | 0x80)), code | 0x80);
  }
  EXPECT_EQ(f32_to_e2m1(-0.0f), 0u);
  EXPECT_EQ(f32_to_e2m1(NAN), 0u);
  EXPECT_EQ(f32_to_e4m3(NAN) & 0x7f, 0x7fu);
}

TEST(Quantize, E4m3RoundsHalfToEvenAndSaturates) {
  for (uint32_t code = 0; code + 1 < 0x7f; ++code) {
    const float low = e4m3_to_f32(code), high = e4m3_to_f32(code + 1), middle = (low + high) / 2;
    EXPECT_EQ(f32_to_e4m3(middle), code % 2 == 0 ? code : code + 1) << code;
    EXPECT_EQ(f32_to_e4m3(std::nextafter(middle, 0.0f)), code) << code;
    EXPECT_EQ(f32_to_e4m3(-std::nextafter(middle, 1e9f)), (code + 1) | 0x80) << code;
  }
  EXPECT_EQ(f32_to_e4m3(449), 0x7eu);
  EXPECT_EQ(f32_to_e4m3(INFINITY), 0x7eu);
  EXPECT_EQ(f32_to_e4m3(-1e30f), 0xfeu);
}

TEST(Quantize, WhatIsNotFiniteIsStillWritten) {
  const Quantization all[] = {
      {QuantMode::affine, 3, 32}, {QuantMode::mxfp4, 4, 32}, {QuantMode::mxfp8, 8, 32}, {QuantMode::nvfp4, 4, 16}};
  for (const Quantization& q : all)
    for (const float odd : {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-45f}) {
      std::vector<float> values(64, 1.0f);
      values[5] = odd;
      const QuantizedRowBytes bytes = quantized_row_bytes(q, 64, DType::f32);
      std::vector<std::byte> codes(bytes.codes), scales(bytes.scales), biases(bytes.biases);
      quantize_row(values, q, DType::f32, codes, scales, biases);
      values.assign(64, odd);
      quantize_row(values, q, DType::f32, codes, scales, biases);
    }
}

TEST(Quantize, SizesThatDoNotFitAreABugOfTheCaller) {
  const Quantization q{QuantMode::affine, 4, 32};
  std::vector<float> values(64);
  std::vector<std::byte> codes(32), scales(4), biases(4);
  quantize_row(values, q, DType::bf16, codes, scales, biases);
  EXPECT_EQ(error_of([&] { quantize_row(values, q, DType::f32, codes, scales, biases); }).first, Errc::internal);
  EXPECT_EQ(error_of([&] {
              quantize_row({values.data(), 48}, q, DType::bf16, codes, scales, biases);
            }).first,
            Errc::internal);
  EXPECT_EQ(error_of([&] { quantized_row_bytes({QuantMode::affine, 7, 32}, 64, DType::bf16); }).first, Errc::internal);
  EXPECT_EQ(error_of([&] { quantized_row_bytes({}, 64, DType::bf16); }).first, Errc::internal);
}

}  // namespace
}  // namespace inkstone
