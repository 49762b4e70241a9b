#include "tests/cpu/reference.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstring>

#include "cpu/cpu_device.h"
#include "cpu/dispatch.h"

namespace inkstone::testing {
namespace {

double decode_bf16(uint16_t bits) {
  const int exponent = (bits >> 7) & 255;
  const double value = exponent == 0 ? std::ldexp(bits & 127, -133) : std::ldexp(128 + (bits & 127), exponent - 134);
  return (bits & 0x8000) ? -value : value;
}

double decode_f16(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const double value = exponent == 0 ? std::ldexp(bits & 1023, -24) : std::ldexp(1024 + (bits & 1023), exponent - 25);
  return (bits & 0x8000) ? -value : value;
}

double decode_small_float(uint32_t code, int exponent_bits, int mantissa_bits, int bias) {
  const int mantissa = static_cast<int>(code & ((1u << mantissa_bits) - 1));
  const int exponent = static_cast<int>((code >> mantissa_bits) & ((1u << exponent_bits) - 1));
  const double value = exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                                     : std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
  return ((code >> (exponent_bits + mantissa_bits)) & 1) ? -value : value;
}

// A random number near `value` in a storage type: appends its bytes, returns what they mean.
double append(std::vector<uint8_t>& bytes, DType dtype, float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, 4);
  if (dtype == DType::f32) {
    for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<uint8_t>(bits >> (8 * i)));
    return value;
  }
  uint16_t half = static_cast<uint16_t>(bits >> 16);
  if (dtype == DType::f16) {
    const double magnitude = std::min(std::fabs(static_cast<double>(value)), 65504.0);
    int exponent = 0;
    std::frexp(magnitude, &exponent);  // magnitude in [2^(e-1), 2^e)
    exponent = std::max(exponent - 1, -14);
    const int mantissa = static_cast<int>(std::ldexp(magnitude, 10 - exponent));
    half = static_cast<uint16_t>(mantissa >= 1024 ? ((exponent + 15) << 10) | (mantissa - 1024) : mantissa);
    if (value < 0) half |= 0x8000;
  }
  bytes.push_back(static_cast<uint8_t>(half));
  bytes.push_back(static_cast<uint8_t>(half >> 8));
  return dtype == DType::f16 ? decode_f16(half) : decode_bf16(half);
}

const char* mode_name(QuantMode mode) {
  switch (mode) {
    case QuantMode::none: return "plain";
    case QuantMode::affine: return "affine";
    case QuantMode::mxfp4: return "mxfp4";
    case QuantMode::mxfp8: return "mxfp8";
    case QuantMode::nvfp4: return "nvfp4";
  }
  return "?";
}

}  // namespace

std::vector<float> random_floats(std::mt19937& rng, int64_t count, float scale) {
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(rng);
  return values;
}

std::string WeightSpec::name() const {
  std::string text = mode_name(mode);
  if (mode == QuantMode::affine) text += "_b" + std::to_string(bits) + "_g" + std::to_string(group);
  if (mode == QuantMode::affine || mode == QuantMode::none) text += std::string("_") + dtype_name(dtype);
  return text;
}

std::vector<WeightSpec> all_weight_specs() {
  std::vector<WeightSpec> specs;
  for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    specs.push_back({QuantMode::none, 0, 0, dtype});
    for (const int bits : {2, 3, 4, 5, 6, 8})
      for (const int group : {32, 64, 128}) specs.push_back({QuantMode::affine, bits, group, dtype});
  }
  for (const int bits : {3, 6}) specs.push_back({QuantMode::affine, bits, 16, DType::f32});
  specs.push_back({QuantMode::mxfp4, 4, 32, DType::u8});
  specs.push_back({QuantMode::mxfp8, 8, 32, DType::u8});
  specs.push_back({QuantMode::nvfp4, 4, 16, DType::u8});
  return specs;
}

ConstTensor TestWeight::store(const std::vector<uint8_t>& bytes, DType dtype, Shape shape) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t pages = (bytes.size() + page - 1) / page + 1;
  memory_.push_back(Buffer::host(pages * page));
  std::byte* guard = memory_.back().data() + (pages - 1) * page;
  CHECK(mprotect(guard, page, PROT_NONE) == 0);
  std::memcpy(guard - bytes.size(), bytes.data(), bytes.size());
  return {guard - bytes.size(), dtype, shape};
}

TestWeight::TestWeight(std::mt19937& rng, const WeightSpec& spec, int64_t out, int64_t in, int64_t experts) {
  view.name = spec.name();
  view.out = out;
  view.in = in;
  view.experts = experts;
  view.quantization = {spec.mode, spec.bits, spec.group};
  const int64_t rows = std::max<int64_t>(experts, 1) * out;
  dense.resize(static_cast<size_t>(rows * in));
  std::normal_distribution<float> normal(0.0f, 1.0f);
  const auto shape = [&](int64_t columns) { return experts > 0 ? Shape{experts, out, columns} : Shape{out, columns}; };
  std::vector<uint8_t> codes, scales, biases;
  if (spec.mode == QuantMode::none) {
    for (double& value : dense) value = append(codes, spec.dtype, normal(rng) * 0.05f);
    view.weight = store(codes, spec.dtype, shape(in));
    return;
  }
  codes.assign(static_cast<size_t>(rows * in * spec.bits / 8), 0);
  double scale = 0, bias = 0;
  for (int64_t i = 0; i < rows * in; ++i) {
    if (i % spec.group == 0 && spec.mode == QuantMode::affine) {
      scale = append(scales, spec.dtype, normal(rng) * 0.02f);
      bias = append(biases, spec.dtype, normal(rng) * 0.1f);
    } else if (i % spec.group == 0 && spec.mode == QuantMode::nvfp4) {
      scales.push_back(static_cast<uint8_t>(rng() % 0x7f));
      scale = decode_small_float(scales.back(), 4, 3, 7);
    } else if (i % spec.group == 0) {
      scales.push_back(static_cast<uint8_t>(120 + rng() % 8));
      scale = std::ldexp(1.0, scales.back() - 127);
    }
    uint32_t code = rng() & ((1u << spec.bits) - 1);
    if (spec.mode == QuantMode::mxfp8 && (code & 0x7f) == 0x7f) code = 0x31;  // NaN is tested elsewhere
    for (int b = 0; b < spec.bits; ++b) {
      const int64_t bit = i * spec.bits + b;
      codes[static_cast<size_t>(bit / 8)] |= static_cast<uint8_t>(((code >> b) & 1u) << (bit % 8));
    }
    double value = scale * code + bias;
    if (spec.mode == QuantMode::mxfp8) value = scale * decode_small_float(code, 4, 3, 7);
    if (spec.mode == QuantMode::mxfp4 || spec.mode == QuantMode::nvfp4)
      value = scale * decode_small_float(code, 2, 1, 1);
    dense[static_cast<size_t>(i)] = value;
  }
  view.weight = store(codes, DType::u32, shape(in * spec.bits / 32));
  const DType dtype = spec.mode == QuantMode::affine ? spec.dtype : DType::u8;
  view.scales = store(scales, dtype, shape(in / spec.group));
  if (spec.mode == QuantMode::affine) view.biases = store(biases, dtype, shape(in / spec.group));
}

Tensor matrix(std::vector<float>& values, int64_t rows, int64_t columns) {
  return {reinterpret_cast<std::byte*>(values.data()), DType::f32, Shape{rows, columns}};
}

DenseResult dense_product(const std::vector<float>& x, int64_t rows, const double* w, int64_t out, int64_t in) {
  DenseResult result;
  result.y.resize(static_cast<size_t>(rows * out));
  result.magnitude.resize(static_cast<size_t>(rows * out));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < out; ++o) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < in; ++i) {
        const double product = x[static_cast<size_t>(r * in + i)] * w[o * in + i];
        sum += product;
        magnitude += std::fabs(product);
      }
      result.y[static_cast<size_t>(r * out + o)] = sum;
      result.magnitude[static_cast<size_t>(r * out + o)] = magnitude;
    }
  }
  return result;
}

double relative_error(const std::vector<float>& y, const DenseResult& expected, double floor) {
  double worst = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const double error = std::fabs(y[i] - expected.y[i]) / (expected.magnitude[i] + floor);
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  return worst;
}

Lora random_lora(std::mt19937& rng, Device& device, int64_t out, int64_t in, int rank, bool dora, int64_t experts) {
  const int64_t count = std::max<int64_t>(experts, 1);
  Lora lora;
  lora.rank = rank;
  lora.scale = 1.5f;
  lora.a = device.upload(random_floats(rng, count * rank * in, 0.1f));
  lora.b = device.upload(random_floats(rng, count * out * rank, 0.1f));
  if (dora) lora.magnitude = device.upload(random_floats(rng, out));
  return lora;
}

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const Kernels* kernels : supported_kernels()) names.push_back(kernels->name);
  return names;
}

std::vector<std::string> vector_isa_names() {
  std::vector<std::string> names;
  for (const Kernels* kernels : supported_kernels())
    if (kernels->tiles == nullptr) names.push_back(kernels->name);
  return names;
}

std::unique_ptr<Device> open_test_device(const std::string& isa, int threads, Precision precision, int kv_bits,
                                         int kv_group_size) {
  return open_cpu_device(
      {.precision = precision, .threads = threads, .isa = isa, .kv_bits = kv_bits, .kv_group_size = kv_group_size});
}

}  // namespace inkstone::testing
