// inkstone eval: perplexity, what a quantisation lost, multiple choice, several models in a table and as a picture.
// Exact answers are asked for in nano_test.cpp.
#include <gtest/gtest.h>

#include <cmath>

#include "process.h"

namespace inkstone::e2e {
namespace {

double number(const Json& object, const char* name) {
  const Json* value = object.find(name);
  EXPECT_NE(value, nullptr) << name;
  return value != nullptr ? value->as_double() : NAN;
}

const char* const kText =
    "Inkstone opens language models in the MLX format and runs them on your own machine. 12 + 30 = 42.\n";

struct Files {
  TempFolder home;
  std::string text = home.file("text.txt"), chats = home.file("chats.jsonl"), choices = home.file("choices.jsonl");

  Files() {
    write_text(text, kText);
    write_text(chats,
               R"({"messages": [{"role": "user", "content": "What is 2 + 3?"}, {"role": "assistant", "content": "5"}]}
{"prompt": "What is the licence?", "completion": "Inkstone is open source under the Apache 2.0 licence."}
)");
    write_text(choices, R"({"question": "What is the licence?", "choices": ["It is a secret of the house.",
 "Inkstone is open source under the Apache 2.0 licence.", "Type /bye."], "answer": 1, "category": "facts"}
)");
    std::string line = read_text(choices);
    std::erase(line, '\n');
    write_text(
        choices,
        line + "\n" + R"({"question": "Hello!", "choices": ["Hello! How can I help you?", "No."], "answer": "No."})");
  }
};

TEST(Eval, PerplexityOfATextAndOfChats) {
  const Files files;
  const Json whole = run_json({"eval", "--text", files.text, "--json"});
  const Json& text = *whole.find("texts");
  EXPECT_GT(number(text, "tokens"), 10);
  EXPECT_NEAR(number(text, "perplexity"), std::exp(number(text, "nats_per_token")), 1e-6 * number(text, "perplexity"));
  // Each window's first token is not predicted.
  const Json windows = run_json({"eval", "--text", files.text, "--window", "2", "--json"});
  EXPECT_NEAR(number(*windows.find("texts"), "tokens"), (number(text, "tokens") + 1) / 2, 0.51);
  EXPECT_GT(number(*windows.find("texts"), "perplexity"), number(text, "perplexity"));
  // Nano was trained on the answers of chats, not on their questions.
  const Json chats = run_json({"eval", "--text", files.chats, "--json"});
  const Json answers = run_json({"eval", "--text", files.chats, "--mask-prompt", "--json"});
  EXPECT_LT(number(*answers.find("texts"), "tokens"), number(*chats.find("texts"), "tokens"));
  EXPECT_LT(number(*answers.find("texts"), "perplexity"), number(*chats.find("texts"), "perplexity"));
}

TEST(Eval, WhatAQuantisationLost) {
  const Files files;
  const std::string plain = files.home.file("plain"), small = files.home.file("small");
  ASSERT_EQ(run({"convert", "--hf-path", "embedded:/nano", "--mlx-path", plain, "-d"}).code, 0);
  ASSERT_EQ(run({"convert", "--hf-path", plain, "--mlx-path", small, "-q", "--q-bits", "2"}).code, 0);
  const std::string svg = files.home.file("quality.svg");
  const Json report = run_json({"eval", "--model", plain, "embedded:/nano", small, "--reference", plain, "--text",
                                files.chats, "--data", files.chats, "--json", "--svg", svg});
  ASSERT_NE(report.find("models"), nullptr);
  const Json::Array models = report.find("models")->as_array();
  ASSERT_EQ(models.size(), 3u);
  const auto kl = [&](size_t i) { return number(*models[i].find("texts"), "kl_mean"); };
  EXPECT_LT(kl(0), 1e-9);  // from itself
  EXPECT_LT(kl(1), 0.01);
  EXPECT_GT(kl(2), 10 * kl(1));
  EXPECT_EQ(number(*models[0].find("texts"), "same_top"), 1);
  EXPECT_EQ(number(*models[2].find("texts"), "reference_perplexity"), number(*models[0].find("texts"), "perplexity"));
  EXPECT_GT(number(models[0], "weight_bytes"), 2 * number(models[2], "weight_bytes"));
  const std::string picture = read_text(svg);
  EXPECT_TRUE(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
  for (const char* part : {"KL from the reference", "weights, MB", "plain", "small"})
    EXPECT_NE(picture.find(part), std::string::npos) << part;
  const Outcome table = run({"eval", "--model", plain, small, "--reference", plain, "--text", files.text});
  EXPECT_EQ(table.code, 0) << table.err;
  for (const char* part : {"perplexity", "KL mean", "same top", "small"})
    EXPECT_NE(table.out.find(part), std::string::npos) << part << "\n" << table.out;
}

TEST(Eval, ChoosesTheMoreProbableAnswer) {
  const Files files;
  const Json report = run_json({"eval", "--data", files.choices, "--wrong", "--json"});
  EXPECT_EQ(number(report, "asked"), 2);
  EXPECT_EQ(number(report, "right"), 1);  // of the second one the wrong answer is the expected one
  EXPECT_EQ(number(*report.find("categories")->find("facts"), "share"), 1);
  ASSERT_EQ(report.find("wrong")->as_array().size(), 1u);
  EXPECT_EQ(*report.find("wrong")->as_array()[0].find("found"), Json("Hello! How can I help you?"));
}

TEST(Eval, SaysWhatIsWrong) {
  const Files files;
  const TempFolder home;
  const std::string other = write_model(home), empty = home.file("empty.txt"), bad = home.file("bad.jsonl");
  write_text(empty, "");
  const std::tuple<Arguments, int, const char*> cases[] = {
      {{}, 2, "expected --data FILE with questions, or --text FILE"},
      {{"--text", home.file("absent.txt")}, 3, "absent.txt"},
      {{"--text", empty}, 4, "found less than two tokens"},
      {{"--text", files.text, "--reference", other}, 2, "--reference"},
      {{"--reference", other}, 2, "--text"},
      {{"--text", files.text, "--window", "1"}, 2, "--window"},
      {{"--text", files.chats, "--ctx-size", "8"}, 7, "expected at most the context of 8"},
      {{"--text", files.text, "--svg", home.file("no/such.svg")}, 9, "--svg"}};
  for (const auto& [flags, code, message] : cases) {
    Arguments all{"eval"};
    all.insert(all.end(), flags.begin(), flags.end());
    const Outcome outcome = run(all);
    EXPECT_EQ(outcome.code, code) << message << "\n" << outcome.err;
    EXPECT_NE(outcome.err.find(message), std::string::npos) << outcome.err;
  }
  for (const char* line :
       {R"({"question": "a", "choices": ["b"], "answer": 0})",
        R"({"question": "a", "choices": ["b", "c"], "answer": 2})",
        R"({"question": "a", "choices": ["b", "c"], "answer": "d"})",
        R"({"question": "a", "choices": ["b", ""], "answer": 0})", R"({"choices": ["b", "c"], "answer": 0})"}) {
    write_text(bad, line);
    const Outcome outcome = run({"eval", "--data", bad});
    EXPECT_EQ(outcome.code, 4) << line << "\n" << outcome.err;
    EXPECT_NE(outcome.err.find("line 1"), std::string::npos) << outcome.err;
  }
}

}  // namespace
}  // namespace inkstone::e2e
