// GGUF files through the program itself: shown, tokenised, answered from, converted; and refused in words.
#include <gtest/gtest.h>

#include "process.h"
#include "tests/format/gguf_writer.h"

namespace inkstone::e2e {
namespace {

TEST(GgufE2e, AnswersAreThoseOfTheConvertedFolder) {
  const TempFolder home;
  const std::string model = home.file("tiny.gguf"), folder = home.file("mlx");
  gguf_files::tiny_gguf({.type = "Q5_K", .experts = true}).write(model);
  const Json shown = run_json({"show", model, "--json"});
  ASSERT_TRUE(shown.is_object());
  EXPECT_EQ(shown.find("model_type")->as_string(), "qwen3_moe");
  EXPECT_EQ(shown.find("quantization")->as_string(), "affine 5 bits, groups of 32");
  const Outcome converted = run({"convert", "--hf-path", model, "--mlx-path", folder, "--dtype", "float32"});
  ASSERT_EQ(converted.code, 0) << converted.err;
  Json answers[2];
  for (int i = 0; i < 2; ++i)
    answers[i] = run_json({"generate", "--model", i == 0 ? model : folder, "--prompt", "hello", "--max-tokens", "12",
                           "--temp", "0", "--precision", "f32", "--json"});
  ASSERT_TRUE(answers[0].is_object() && answers[1].is_object());
  EXPECT_EQ(*answers[0].find("text"), *answers[1].find("text"));
  EXPECT_EQ(run({"tokenize", "-m", model, "-p", "hello<|im_end|>"}).out,
            run({"tokenize", "-m", folder, "-p", "hello<|im_end|>"}).out);
}

TEST(GgufE2e, WhatIsNoModelIsRefused) {
  const TempFolder home;
  write_text(home.file("text.gguf"), "something else");
  const Outcome text = run({"show", home.file("text.gguf")});
  EXPECT_EQ(text.code, 4);
  EXPECT_NE(text.err.find("expected a GGUF file"), std::string::npos) << text.err;
  gguf_files::GgufWriter other;
  other.text("general.architecture", "llama");
  other.write(home.file("llama.gguf"));
  const Outcome llama = run({"generate", "--model", home.file("llama.gguf"), "--prompt", "x"});
  EXPECT_EQ(llama.code, 5);
  EXPECT_NE(llama.err.find("\"llama\""), std::string::npos) << llama.err;
}

}  // namespace
}  // namespace inkstone::e2e
