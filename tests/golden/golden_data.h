// What golden tests share: a folder's golden.json and golden.safetensors, a model opened for one ISA, and registration.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "cpu/dispatch.h"
#include "engine/generator.h"
#include "format/checkpoint.h"
#include "format/safetensors.h"
#include "model/model.h"
#include "tensor/widen.h"
#include "tests/golden/fixture_folder.h"

namespace inkstone {

// From the fixtures' README: float32 goldens are good to 1e-4; a float32 implementation stays within this of the
// reference's logits, whose standard deviation is about 2.2.
inline constexpr float kLogitTolerance = 2e-3f;
// A greedy step whose two best logits are closer than this may go either way.
inline constexpr double kMarginTolerance = 1e-3;

inline Json read_json(const std::filesystem::path& path) {
  return Json::parse(read_file(path, size_t{64} << 20), path.string());
}

inline std::vector<int32_t> token_list(const Json& array) {
  std::vector<int32_t> tokens;
  for (const Json& token : array.as_array()) tokens.push_back(static_cast<int32_t>(token.as_int()));
  return tokens;
}

// A golden tensor widened to float32; empty if the file has none of that name.
inline std::vector<float> golden_values(const Safetensors& file, const std::string& name) {
  const ConstTensor* tensor = file.find(name);
  if (tensor == nullptr) return {};
  std::vector<float> values(static_cast<size_t>(tensor->shape.elements()));
  widen(*tensor, values);
  return values;
}

// A folder's model on one ISA. Wrap lets a test put its own Device around the CPU's.
struct GoldenModel {
  using Wrap = std::function<std::unique_ptr<Device>(std::unique_ptr<Device>)>;

  GoldenModel(const std::filesystem::path& folder, Precision precision, const std::string& isa, const Wrap& wrap = {})
      : GoldenModel(folder, {.precision = precision, .threads = 2, .isa = isa}, wrap) {}
  GoldenModel(const std::filesystem::path& folder, const DeviceOptions& options, const Wrap& wrap = {})
      : checkpoint(folder), config(load_model_config(folder)), device(open_device(options)) {
    if (wrap) device = wrap(std::move(device));
    model = load_model(checkpoint, config, *device);
  }

  Checkpoint checkpoint;
  ModelConfig config;
  std::unique_ptr<Device> device;
  std::unique_ptr<Model> model;
};

inline float max_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  float worst = 0;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i)
    worst = std::max(worst, std::isfinite(a[i]) ? std::abs(a[i] - b[i]) : INFINITY);
  return worst;
}

inline double rms_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

inline std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const Kernels* kernels : supported_kernels()) names.emplace_back(kernels->name);
  return names;
}

// Greedy tokens after `prompt` against golden {tokens, margin}: identical, except from a step on whose margin is below
// what float32 decides.
inline void expect_greedy(Generator& generator, const std::vector<int32_t>& prompt, const Json& golden) {
  const std::vector<int32_t> expected = token_list(*golden.find("tokens"));
  GenerationRequest request;
  request.prompt = prompt;
  request.max_tokens = static_cast<int>(expected.size());
  const std::vector<int32_t> found = generator.generate(request).tokens;
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    if (found[i] == expected[i]) continue;
    const double margin = golden.find("margin")->as_array()[i].as_double();
    EXPECT_LT(margin, kMarginTolerance) << "step " << i << ": found " << found[i] << ", expected " << expected[i];
    break;  // what follows continues another text
  }
}

inline void expect_greedy(Model& model, const std::vector<int32_t>& prompt, const Json& golden) {
  Generator generator(model, static_cast<int>(prompt.size() + golden.find("tokens")->as_array().size()) + 1);
  expect_greedy(generator, prompt, golden);
}

// Suites that have at least one test.
inline std::set<std::string>& golden_suites() {
  static std::set<std::string> suites;
  return suites;
}

// Registers one test, run by `body`.
inline void register_golden(const std::string& suite, const std::string& name, std::function<void()> body) {
  class Case : public testing::Test {
   public:
    explicit Case(std::function<void()> body) : body_(std::move(body)) {}
    void TestBody() override { body_(); }

   private:
    std::function<void()> body_;
  };
  golden_suites().insert(suite);
  std::string clean = name;
  for (char& c : clean)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  testing::RegisterTest(suite.c_str(), clean.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                        [body = std::move(body)]() -> testing::Test* { return new Case(body); });
}

// A suite that found no fixture of its kind says so as a skipped test, instead of vanishing.
inline void skip_if_none(const std::string& suite, const std::string& kind) {
  if (golden_suites().count(suite) == 0)
    register_golden(suite, "none", [kind] { GTEST_SKIP() << "no " << kind << " in " << fixture_root(); });
}

}  // namespace inkstone
