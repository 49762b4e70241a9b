// inkstone fuse: an adapter and its model become one, which answers as the two did; and what is refused.
#include <gtest/gtest.h>

#include "format/adapter.h"
#include "format/safetensors_writer.h"
#include "process.h"

namespace inkstone::e2e {
namespace {

// An adapter of the tiny shape's attention: every value of b a is about `size`.
std::string write_adapter(const TempFolder& home, float size, const char* name = "adapters", int64_t in = 64) {
  constexpr int64_t kRank = 4, kOut = 64;
  std::vector<float> a(static_cast<size_t>(kRank * in)), b(static_cast<size_t>(kOut * kRank));
  uint32_t state = 1;
  const auto draw = [&] { return static_cast<float>((state = state * 1664525 + 1013904223) >> 8) * 0x1p-23f - 1; };
  for (float& value : a) value = draw();
  for (float& value : b) value = draw() * size;
  Json options;
  options["fine_tune_type"] = "lora";
  options["lora_parameters"]["rank"] = static_cast<int>(kRank);
  options["lora_parameters"]["scale"] = 1.0;
  options["num_layers"] = 2;
  const std::string folder = home.file(name);
  write_adapter_config(folder, options);
  std::map<std::string, ConstTensor, std::less<>> tensors;
  for (const std::string layer : {"0", "1"}) {
    const std::string module = "model.layers." + layer + ".self_attn.q_proj";
    tensors[module + ".lora_a"] = {reinterpret_cast<const std::byte*>(a.data()), DType::f32, Shape{in, kRank}};
    tensors[module + ".lora_b"] = {reinterpret_cast<const std::byte*>(b.data()), DType::f32, Shape{kRank, kOut}};
  }
  write_safetensors(folder + "/adapters.safetensors", tensors);
  return folder;
}

std::string answer(const std::string& model, const Arguments& more = {}) {
  Arguments arguments{"generate",
                      "-m",
                      model,
                      "-p",
                      "Hello",
                      "-n",
                      "16",
                      "--temp",
                      "0",
                      "--json",
                      "--precision",
                      "f32",
                      "--logit-bias=256=-1000,258=-1000"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Json report = run_json(arguments);
  return report.is_object() ? report.find("text")->as_string() : "";
}

TEST(Fuse, APlainModelAnswersAsItDidWithTheAdapter) {
  const TempFolder home;
  const std::string base = write_model(home, {"--shape", "tiny", "--dtype", "float32"});
  const std::string adapter = write_adapter(home, 0.3f), fused = home.file("fused");
  const Outcome outcome = run({"fuse", "--model", base, "--adapter-path", adapter, "--save-path", fused});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("2 modules fused"), std::string::npos) << outcome.out;
  EXPECT_EQ(answer(fused), answer(base, {"--adapter", adapter}));
  EXPECT_NE(answer(fused), answer(base));
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"})
    EXPECT_EQ(read_text(fused + "/" + file), read_text(base + "/" + file)) << file;
}

TEST(Fuse, AQuantisedModelIsQuantisedAgainOrWrittenPlain) {
  const TempFolder home;
  const std::string base = write_model(home, {"--shape", "tiny", "--bits", "8", "--group-size", "32"});
  const std::string adapter = write_adapter(home, 0.3f), again = home.file("again"), plain = home.file("plain");
  const Json report =
      run_json({"fuse", "-m", base, "--adapter-path", adapter, "--save-path", again, "--json", "--threads", "2"});
  ASSERT_TRUE(report.is_object());
  EXPECT_GT(report.find("quantized")->find("survival")->as_double(), 0.9);
  EXPECT_LT(report.find("quantized")->find("noise")->as_double(), 0.2);
  EXPECT_EQ(report.find("modules")->as_array().size(), 2u);
  EXPECT_EQ(run_json({"show", again, "--json"}).find("quantization")->as_string(), "affine 8 bits, groups of 32");

  ASSERT_EQ(run({"fuse", "-m", base, "--adapter-path", adapter, "--save-path", plain, "--de-quantize"}).code, 0);
  EXPECT_EQ(run_json({"show", plain, "--json"}).find("quantization")->as_string(), "none");
  // The beginning: bfloat16 rounds what the adapter beside the model does not.
  EXPECT_EQ(answer(plain).substr(0, 2), answer(base, {"--adapter", adapter}).substr(0, 2));
}

TEST(Fuse, ATuningBelowTheStepOfTheCodesIsRefused) {
  const TempFolder home;
  const std::string base = write_model(home);
  const std::string adapter = write_adapter(home, 1e-4f), fused = home.file("fused");
  const Outcome refused = run({"fuse", "-m", base, "--adapter-path", adapter, "--save-path", fused});
  EXPECT_EQ(refused.code, 5) << refused.err;
  for (const char* part : {"lose the tuning", "%", "--dequantize", "--force", "--adapter"})
    EXPECT_NE(refused.err.find(part), std::string::npos) << part << "\n" << refused.err;
  EXPECT_FALSE(std::filesystem::exists(fused));
  const Outcome forced = run({"fuse", "-m", base, "--adapter-path", adapter, "--save-path", fused, "--force"});
  EXPECT_EQ(forced.code, 0) << forced.err;
  EXPECT_NE(forced.err.find("loses the tuning"), std::string::npos);
  EXPECT_EQ(run({"generate", "-m", fused, "-p", "a", "-n", "2"}).code, 0);
  const Outcome plain =
      run({"fuse", "-m", base, "--adapter-path", adapter, "--save-path", home.file("plain"), "--dequantize"});
  EXPECT_EQ(plain.code, 0) << plain.err;
  EXPECT_NE(plain.err.find("finer than the model's 16-bit numbers"), std::string::npos) << plain.err;
}

TEST(Fuse, WhatIsWrongIsSaid) {
  const TempFolder home;
  const std::string base = write_model(home), adapter = write_adapter(home, 0.3f);
  const auto refusal = [&](const Arguments& flags, int code, const char* part) {
    Arguments all{"fuse"};
    all.insert(all.end(), flags.begin(), flags.end());
    const Outcome outcome = run(all);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
    EXPECT_TRUE(outcome.err.starts_with("inkstone: ")) << outcome.err;
  };
  const std::string save = home.file("fused");
  refusal({"-m", home.file("none"), "--adapter-path", adapter, "--save-path", save}, 3, "no such folder");
  refusal({"-m", base, "--adapter-path", home.file("none"), "--save-path", save}, 3, "adapter_config.json");
  refusal({"-m", base, "--adapter-path", write_adapter(home, 0.3f, "wide", 96), "--save-path", save}, 4,
          "expected 0 experts");
  write_text(home.file("file"), "");
  refusal({"-m", base, "--adapter-path", adapter, "--save-path", home.file("file")}, 2, "found a file");
  refusal({"-m", base, "--adapter-path", adapter, "--save-path", base}, 2, "not empty");
  refusal({"-m", base, "--adapter-path", adapter, "--save-path", home.file("file") + "/model", "--force"}, 9,
          "cannot make the folder");
  std::string weights = read_text(adapter + "/adapters.safetensors");
  write_text(adapter + "/adapters.safetensors", weights.substr(0, weights.size() - 1));
  refusal({"-m", base, "--adapter-path", adapter, "--save-path", save}, 4, "adapters.safetensors");
  for (size_t i = weights.size() - 4096; i < weights.size(); ++i) weights[i] = '\xff';  // NaN
  write_text(adapter + "/adapters.safetensors", weights);
  refusal({"-m", base, "--adapter-path", adapter, "--save-path", save}, 4, "not finite");
  refusal({"-m", base, "--adapter-path", adapter, "--save-path", save, "--dequantize"}, 4, "not finite");
  EXPECT_FALSE(std::filesystem::exists(save));  // what was begun is gone
}

TEST(Fuse, AnEmptyFolderMayBeThere) {
  const TempFolder home;
  const std::string adapter = write_adapter(home, 0.3f), save = home.file("fused");
  std::filesystem::create_directory(save);
  const std::string base = write_model(home, {"--shape", "tiny"});
  EXPECT_EQ(run({"fuse", "-m", base, "--adapter-path", adapter, "--save-path", save}).code, 0);
  EXPECT_EQ(run({"show", save}).code, 0);
}

}  // namespace
}  // namespace inkstone::e2e
