// The model inside the program, used for what it is there for: it calculates, knows Inkstone, calls functions, keeps to
// budgets, learns and is quantised. The questions are those that its training never saw (tools/nano/corpus.py); shares
// of right answers may fall a little below docs/nano.md's, since only some of the questions are asked.
#include <gtest/gtest.h>

#include <cstdlib>

#include "process.h"

namespace inkstone::e2e {
namespace {

const std::string kTools = INKSTONE_SOURCE_DIR "/tools/nano/";

void python(const std::string& script, const std::string& arguments) {
  ASSERT_EQ(std::system(("python3 -B '" + kTools + script + "' " + arguments + " >/dev/null").c_str()), 0) << script;
}

// Held-out questions by task, in `folder`/corpus/eval.
struct Questions {
  Questions() { python("corpus.py", "'" + folder.file("corpus") + "' --size small"); }
  std::string file(const std::string& task) const { return folder.file("corpus/eval/" + task + ".jsonl"); }
  TempFolder folder;
};

double share(const std::string& questions, const Arguments& more = {}, const char* limit = "40") {
  Arguments arguments{"eval", "--data", questions, "--limit", limit, "--max-tokens", "300", "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Json report = run_json(arguments, {.timeout_s = 300});
  const Json* value = report.find("share");
  EXPECT_NE(value, nullptr);
  return value != nullptr ? value->as_double() : -1;
}

Json answer(const std::string& prompt, const Arguments& more) {
  Arguments arguments{"generate", "--prompt", prompt, "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_json(arguments);
}

TEST(Nano, WorksSumsOutOnlyIfItMayThink) {
  const Questions questions;
  const double thinking = share(questions.file("arithmetic"));
  EXPECT_GE(thinking, 0.9);
  EXPECT_LE(share(questions.file("arithmetic_direct")), thinking - 0.4);
}

TEST(Nano, KnowsInkstoneAndTheOtherTasks) {
  const Questions questions;
  EXPECT_GE(share(questions.file("knowledge"), {}, "100"), 0.9);
  EXPECT_GE(share(questions.file("greetings")), 0.8);
  EXPECT_GE(share(questions.file("replies")), 0.8);
  EXPECT_GE(share(questions.file("spelling")), 0.7);
  EXPECT_GE(share(questions.file("tools")), 0.7);
}

TEST(Nano, KeepsToAThinkingBudgetAndAnswers) {
  const Json whole = answer("What is 4738 + 569?", {"--think"});
  EXPECT_EQ(whole.find("text")->as_string(), "5307");
  EXPECT_EQ(whole.find("finish_reason")->as_string(), "stop");
  EXPECT_GT(whole.find("thinking_tokens")->as_int(), 20);
  EXPECT_NE(whole.find("thinking")->as_string().find("4738+569"), std::string::npos);
  const Json cut = answer("What is 4738 + 569?", {"--think", "--thinking-budget", "12"});
  EXPECT_EQ(cut.find("finish_reason")->as_string(), "stop");
  EXPECT_LE(cut.find("thinking_tokens")->as_int(), 12);
  EXPECT_FALSE(cut.find("text")->as_string().empty());
  const Json none = answer("What is 4738 + 569?", {"--no-think"});
  EXPECT_EQ(none.find("thinking_tokens")->as_int(), 0);
  EXPECT_EQ(none.find("thinking")->as_string(), "");
  EXPECT_FALSE(none.find("text")->as_string().empty());
}

// Four bits made of the eight that are in the program, through plain numbers.
TEST(Nano, AnswersInFourBitsToo) {
  const Questions questions;
  const std::string plain = questions.folder.file("plain"), small = questions.folder.file("4bit");
  const std::string nano = INKSTONE_SOURCE_DIR "/models/nano";
  ASSERT_EQ(run({"convert", "--hf-path", nano, "--mlx-path", plain, "--dequantize"}).code, 0);
  ASSERT_EQ(run({"convert", "--hf-path", plain, "--mlx-path", small, "-q", "--q-bits", "4"}).code, 0);
  EXPECT_GE(share(questions.file("arithmetic"), {"--model", small}), 0.85);
  EXPECT_GE(share(questions.file("knowledge"), {"--model", small}), 0.85);
}

// A LoRA teaches three facts of a town that it has never heard of; fused into eight bits they are still known, and two
// bits are refused. docs/nano.md has the whole lesson.
TEST(Nano, LearnsALessonAndKeepsTheRest) {
  const Questions questions;
  const TempFolder& folder = questions.folder;
  const std::string nano = INKSTONE_SOURCE_DIR "/models/nano", lesson = folder.file("lesson"), a = folder.file("a");
  python("lesson.py", "'" + lesson + "' --facts 3 --lines 300 --review '" + folder.file("corpus/train.jsonl") + "'");
  EXPECT_EQ(share(lesson + "/test.jsonl"), 0);
  const Outcome outcome = run({"train", "-c", kTools + "lesson.yaml", "--iters", "200", "--batch-size", "8", "--model",
                               nano, "--data", lesson, "--val-batches", "0", "--adapter-path", a},
                              {.timeout_s = 300});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_GE(share(lesson + "/test.jsonl", {"--adapter", a}), 0.8);
  EXPECT_GE(share(questions.file("arithmetic"), {"--adapter", a}), 0.8);
  ASSERT_EQ(run({"fuse", "--model", nano, "--adapter-path", a, "--save-path", folder.file("f")}).code, 0);
  EXPECT_GE(share(lesson + "/test.jsonl", {"--model", folder.file("f")}), 0.8);

  const std::string plain = folder.file("plain"), coarse = folder.file("2bit");
  ASSERT_EQ(run({"convert", "--hf-path", nano, "--mlx-path", plain, "--dequantize"}).code, 0);
  ASSERT_EQ(run({"convert", "--hf-path", plain, "--mlx-path", coarse, "-q", "--q-bits", "2"}).code, 0);
  const Outcome refused = run({"fuse", "--model", coarse, "--adapter-path", a, "--save-path", folder.file("lost")});
  EXPECT_EQ(refused.code, 5) << refused.out << refused.err;
  EXPECT_FALSE(std::filesystem::exists(folder.file("lost")));
}

}  // namespace
}  // namespace inkstone::e2e
