// inkstone convert and quantize: a model in another format, as a user asks for it; and what is refused.
#include <gtest/gtest.h>

#include "process.h"

namespace inkstone::e2e {
namespace {

Outcome convert(const std::string& from, const std::string& to, const Arguments& more = {}) {
  Arguments arguments{"convert", "--hf-path", from, "--mlx-path", to};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run(arguments);
}

std::string quantization_of(const std::string& folder) {
  const Json shown = run_json({"show", folder, "--json"});
  return shown.is_object() ? shown.find("quantization")->as_string() : "";
}

size_t entries_in(const TempFolder& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder.path()), {}));
}

// A plain model in every format, and plain again: the folders open, and say what they are.
TEST(Convert, EveryFormatAndPlainAgain) {
  const TempFolder home;
  const std::string base = write_model(home, {"--shape", "tiny-moe"});
  std::vector<std::pair<Arguments, std::string>> formats{
      {{"-q", "--q-mode", "mxfp4"}, "mxfp4 4 bits, groups of 32"},
      {{"-q", "--q-mode", "mxfp8"}, "mxfp8 8 bits, groups of 32"},
      {{"-q", "--q-mode", "nvfp4"}, "nvfp4 4 bits, groups of 16"},
      {{"-q"}, "affine 4 bits, groups of 64"},
      {{"-q", "--quant-predicate", "mixed_2_6", "--q-group-size", "32"}, "affine 4 bits, groups of 32"}};
  for (const std::string bits : {"2", "3", "4", "5", "6", "8"})
    formats.push_back({{"-q", "--q-bits", bits, "--q-group-size", "32"}, "affine " + bits + " bits, groups of 32"});
  int number = 0;
  for (const auto& [flags, name] : formats) {
    SCOPED_TRACE(name);
    const std::string quantised = home.file("q" + std::to_string(number)), plain = home.file(std::to_string(number));
    ++number;
    const Outcome outcome = convert(base, quantised, flags);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_NE(outcome.out.find(" of weights, "), std::string::npos) << outcome.out;
    EXPECT_EQ(quantization_of(quantised), name);
    EXPECT_EQ(run({"generate", "--model", quantised, "-p", "Hello", "-n", "4"}).code, 0);
    ASSERT_EQ(convert(quantised, plain, {"-d"}).code, 0);
    EXPECT_EQ(quantization_of(plain), "none");
    EXPECT_EQ(run({"generate", "--model", plain, "-p", "Hello", "-n", "4"}).code, 0);
  }
}

TEST(Convert, QuantizeIsConvertWithQ) {
  const TempFolder home;
  const std::string base = write_model(home, {"--shape", "tiny"});
  ASSERT_EQ(convert(base, home.file("a"), {"-q", "--q-bits", "6"}).code, 0);
  const Outcome outcome = run({"quantize", "--model", base, "--mlx-path", home.file("b"), "--q-bits", "6"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* file : {"/config.json", "/model.safetensors", "/model.safetensors.index.json"})
    EXPECT_EQ(read_text(home.file("a") + file), read_text(home.file("b") + file)) << file;
}

TEST(Convert, DtypesAreCast) {
  const TempFolder home;
  const std::string base = write_model(home, {"--shape", "tiny"});
  ASSERT_EQ(convert(base, home.file("f16"), {"--dtype", "float16"}).code, 0);
  EXPECT_NE(run({"show", home.file("f16"), "--tensors"}).out.find("F16"), std::string::npos);
  EXPECT_EQ(run({"generate", "--model", home.file("f16"), "-p", "Hello", "-n", "4"}).code, 0);
}

TEST(Convert, WhatIsWrongIsSaidWithTheFlagThatWasTyped) {
  const TempFolder home;
  const std::string base = write_model(home, {"--shape", "tiny"}), none = home.file("none"), to = home.file("to");
  ASSERT_EQ(convert(base, home.file("q"), {"-q"}).code, 0);
  write_text(home.file("file"), "");
  const size_t before = entries_in(home);
  const auto refusal = [](const Outcome& outcome, int code, const std::string& part) {
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  };
  refusal(convert(none, to), 3, "--hf-path " + none + ": no such folder");
  refusal(run({"quantize", "--model", none, "--mlx-path", to}), 3, "--model " + none + ": no such folder");
  refusal(run({"convert", "--mlx-path", to}), 2, "--hf-path");
  refusal(convert(home.file("q"), to, {"-q"}), 2, "expected a plain one");
  refusal(convert(base, base, {"-q"}), 2, "not empty");
  refusal(convert(base, home.file("file"), {"-q"}), 2, "found a file");
  refusal(convert(base, home.file("file") + "/model", {"-q"}), 9, "cannot make the folder");
  refusal(convert(base, to, {"-q", "-d"}), 2, "--dequantize");
  refusal(run({"quantize", "--hf-path", base, "--mlx-path", to, "-d"}), 2, "-d");
  refusal(convert(base, to, {"--q-bits", "4"}), 2, "--q-bits");
  refusal(convert(base, to, {"-q", "--q-bits", "7"}), 2, "--q-bits");
  refusal(convert(base, to, {"-q", "--q-mode", "mxfp4", "--q-bits", "8"}), 2, "expected 4");
  refusal(convert(base, to, {"-q", "--q-group-size", "16"}), 2, "expected 32, 64 or 128");
  refusal(convert(base, to, {"-q", "--q-mode", "nvfp4", "--quant-predicate", "mixed_3_6"}), 2, "expected affine");
  refusal(convert(base, to, {"-q", "--quant-predicate", "mixed_1_2"}), 2, "mixed_4_6");
  EXPECT_EQ(entries_in(home), before);
}

// As on a full disk: the write fails in the middle of the weights, or of what follows them.
TEST(Convert, AFullDiskLeavesNothing) {
  const TempFolder home;
  const std::string base = write_model(home, {"--shape", "tiny"}), to = home.file("to");
  for (const int64_t largest : {1, 5000, 30000}) {
    RunOptions options;
    options.largest_file = largest;
    const Outcome outcome = run({"convert", "--hf-path", base, "--mlx-path", to, "-q"}, options);
    EXPECT_EQ(outcome.code, 9) << outcome.err;
    EXPECT_EQ(entries_in(home), 1u);
  }
  EXPECT_EQ(convert(base, to, {"-q"}).code, 0);
}

// What a killed run left is gone, and somebody says so.
TEST(Convert, CleansUpAfterAKilledRun) {
  const TempFolder home;
  const std::string base = write_model(home, {"--shape", "tiny"}), to = home.file("to");
  std::filesystem::create_directory(to + ".inkstone-part");
  write_text(to + ".inkstone-part/model.safetensors.1-0.part", "half");
  const Outcome outcome = convert(base, to, {"-q"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("killed"), std::string::npos) << outcome.err;
  EXPECT_EQ(entries_in(home), 2u);
}

}  // namespace
}  // namespace inkstone::e2e
