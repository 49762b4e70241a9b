// inkstone generate, on the model inside the program.
#include <gtest/gtest.h>

#include "process.h"

namespace inkstone::e2e {
namespace {

Arguments generate(const Arguments& more) {
  Arguments all{"generate"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

// The ids of nano's end tokens, forbidden: an answer goes on to its limit.
const std::string kNoEnd = "--logit-bias=256=-1000,258=-1000";

const std::string& text_of(const Json& report) {
  static const std::string none;
  const Json* text = report.find("text");
  EXPECT_TRUE(text != nullptr && text->is_string());
  return text != nullptr ? text->as_string() : none;
}

int64_t count_of(const Json& report, const char* name) {
  const Json* value = report.find(name);
  EXPECT_TRUE(value != nullptr && value->is_int()) << name;
  return value != nullptr && value->is_int() ? value->as_int() : -1;
}

// Of a text whose marks are marks.
int64_t token_count(const std::string& text) {
  return std::ssize(run_json({"tokenize", "--special", "--json", "-p", text}).as_array());
}

TEST(Generate, AnswersWithNanoAndSaysSo) {
  const Outcome outcome = run(generate({"-p", "What is Inkstone?"}));
  EXPECT_EQ(outcome.code, 0);
  EXPECT_NE(outcome.err.find("No --model: this is nano"), std::string::npos) << outcome.err;
  EXPECT_TRUE(outcome.out.starts_with("Inkstone is a native C++20 program")) << outcome.out;
  EXPECT_TRUE(outcome.out.ends_with("\n"));
  EXPECT_EQ(outcome.out.find("No --model"), std::string::npos);
}

TEST(Generate, PrintsTheTextOfTheReportAndNoMore) {
  const Arguments arguments = generate({"-p", "Hello", "-n", "40", "--temp", "0", "--logit-bias", "263=-1000"});
  Arguments json = arguments;
  json.push_back("--json");
  std::string text = text_of(run_json(json));
  if (!text.ends_with('\n')) text += '\n';
  const Outcome outcome = run(arguments);
  EXPECT_EQ(outcome.out, text);
  EXPECT_EQ(outcome.err.find('\x1b'), std::string::npos) << "colour without a terminal";
}

TEST(Generate, ReportsAsJson) {
  const Json report = run_json(generate({"-p", "Hello", "-n", "24", "--seed", "7", "--json", kNoEnd}));
  ASSERT_TRUE(report.is_object());
  for (const char* name : {"text", "thinking", "finish_reason", "model"}) {
    ASSERT_NE(report.find(name), nullptr) << name;
    EXPECT_TRUE(report.find(name)->is_string()) << name;
  }
  EXPECT_EQ(count_of(report, "completion_tokens"), 24);
  EXPECT_EQ(report.find("finish_reason")->as_string(), "length");
  EXPECT_GT(count_of(report, "prompt_tokens"), 5);
  EXPECT_GE(count_of(report, "thinking_tokens"), 0);
  EXPECT_GT(count_of(report, "resident_bytes"), 0);
  const Json* timings = report.find("timings");
  ASSERT_NE(timings, nullptr);
  for (const char* name :
       {"load_seconds", "prompt_seconds", "decode_seconds", "prompt_tokens_per_second", "decode_tokens_per_second"}) {
    ASSERT_NE(timings->find(name), nullptr) << name;
    EXPECT_GT(timings->find(name)->as_double(), 0) << name;
  }
}

TEST(Generate, SameSeedSameTextOtherSeedOtherText) {
  const auto text = [](const char* seed) {
    return text_of(run_json(generate({"-p", "Hello", "-n", "48", "--seed", seed, "--temp", "1", "--json", kNoEnd})));
  };
  const std::string first = text("7");
  EXPECT_EQ(text("7"), first);
  EXPECT_NE(text("8"), first);
}

TEST(Generate, MaxTokensHoldsToTheToken) {
  for (const int limit : {1, 2, 17, 100}) {
    const Json report = run_json(generate({"-p", "Hello", "-n", std::to_string(limit), "--json", kNoEnd}));
    EXPECT_EQ(count_of(report, "completion_tokens"), limit);
  }
}

TEST(Generate, StopsAtAnEndToken) {
  const Json report = run_json(generate({"-p", "Hello", "-n", "50", "--json", "--logit-bias", "258=1000"}));
  EXPECT_EQ(count_of(report, "completion_tokens"), 0);
  EXPECT_EQ(report.find("finish_reason")->as_string(), "stop");
  EXPECT_EQ(text_of(report), "");
}

TEST(Generate, StopsWhereTheContextEnds) {
  const Json report = run_json(generate({"-p", "Hello", "-c", "64", "--json", kNoEnd}));
  EXPECT_EQ(count_of(report, "prompt_tokens") + count_of(report, "completion_tokens"), 64);
  EXPECT_EQ(report.find("finish_reason")->as_string(), "length");
}

TEST(Generate, GreedyTextIsTheSameWithAnyNumberOfThreads) {
  const auto text = [](const char* threads) {
    return text_of(run_json(generate({"-p", "Hello", "-n", "64", "--temp", "0", "-t", threads, "--json", kNoEnd})));
  };
  const std::string one = text("1");
  EXPECT_FALSE(one.empty());
  EXPECT_EQ(text("2"), one);
  EXPECT_EQ(text("5"), one);
}

TEST(Generate, ReadsThePromptFromStandardInput) {
  const Arguments tail{"-n", "32", "--temp", "0", "--json"};
  Arguments given = generate({"-p", "a\n\"b\" \xc3\xa9\n"}), piped = generate({"-p", "-"});
  given.insert(given.end(), tail.begin(), tail.end());
  piped.insert(piped.end(), tail.begin(), tail.end());
  const Json a = run_json(given), b = run_json(piped, {.input = "a\n\"b\" \xc3\xa9\n"});
  EXPECT_EQ(text_of(a), text_of(b));
  EXPECT_EQ(count_of(a, "prompt_tokens"), count_of(b, "prompt_tokens"));
}

TEST(Generate, RawPromptGetsNoTemplate) {
  const Json raw = run_json(generate({"-p", "ab", "--raw", "-n", "1", "--json"}));
  EXPECT_EQ(count_of(raw, "prompt_tokens"), token_count("ab"));
  const Json chat = run_json(generate({"-p", "ab", "-n", "1", "--json", "--think"}));
  EXPECT_EQ(count_of(chat, "prompt_tokens"), token_count("<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n"));
}

TEST(Generate, SystemPromptIsPartOfThePrompt) {
  const Json without = run_json(generate({"-p", "ab", "-n", "1", "--json"}));
  const Json with = run_json(generate({"-p", "ab", "-n", "1", "--json", "--system", "xyzxyz"}));
  EXPECT_EQ(count_of(with, "prompt_tokens") - count_of(without, "prompt_tokens"),
            token_count("<|im_start|>system\nxyzxyz<|im_end|>\n"));
}

TEST(Generate, NoThinkClosesTheThinkingInThePrompt) {
  const auto prompt_tokens = [](const char* flag) {
    return count_of(run_json(generate({"-p", "ab", "-n", "1", "--json", flag})), "prompt_tokens");
  };
  EXPECT_EQ(prompt_tokens("--no-think") - prompt_tokens("--think"), token_count("<think>\n\n</think>\n\n"));
  EXPECT_EQ(run(generate({"-p", "ab", "--think", "--no-think"})).code, 2);
}

TEST(Generate, LogprobsAreOfTheMostProbableTokensInOrder) {
  const Json report =
      run_json(generate({"-p", "Hello", "-n", "8", "--temp", "0", "--logprobs", "3", "--json", kNoEnd}));
  const Json* list = report.find("logprobs");
  ASSERT_TRUE(list != nullptr && list->is_array());
  ASSERT_EQ(list->as_array().size(), 8u);
  for (const Json& entry : list->as_array()) {
    const Json::Array& top = entry.find("top")->as_array();
    ASSERT_EQ(top.size(), 3u);
    // Greedy: what was taken is the first.
    EXPECT_EQ(entry.find("id")->as_int(), top[0].find("id")->as_int());
    EXPECT_EQ(entry.find("logprob")->as_double(), top[0].find("logprob")->as_double());
    EXPECT_LE(top[0].find("logprob")->as_double(), 0);
    EXPECT_GE(top[0].find("logprob")->as_double(), top[1].find("logprob")->as_double());
    EXPECT_GE(top[1].find("logprob")->as_double(), top[2].find("logprob")->as_double());
  }
}

TEST(Generate, PrecisionFloat32Works) {
  const Json report = run_json(generate({"-p", "Hello", "-n", "8", "--precision", "f32", "--json", kNoEnd}));
  EXPECT_EQ(count_of(report, "completion_tokens"), 8);
  EXPECT_EQ(run(generate({"-p", "Hello", "--precision", "f64"})).code, 2);
}

TEST(Generate, InstructionSetByFlagAndByVariable) {
  const Arguments arguments = generate({"-p", "Hello", "-n", "8", "--json", kNoEnd});
  Arguments scalar = arguments, unknown = arguments;
  scalar.insert(scalar.end(), {"--isa", "scalar"});
  unknown.insert(unknown.end(), {"--isa", "z80"});
  EXPECT_EQ(count_of(run_json(scalar), "completion_tokens"), 8);
  EXPECT_EQ(count_of(run_json(arguments, {.variables = {{"INKSTONE_ISA", "scalar"}}}), "completion_tokens"), 8);
  const Outcome by_flag = run(unknown);
  EXPECT_EQ(by_flag.code, 2);
  EXPECT_NE(by_flag.err.find("z80"), std::string::npos) << by_flag.err;
  const Outcome by_variable = run(arguments, {.variables = {{"INKSTONE_ISA", "z80"}}});
  EXPECT_EQ(by_variable.code, 2);
  // The flag goes before the variable.
  EXPECT_EQ(run(scalar, {.variables = {{"INKSTONE_ISA", "z80"}}}).code, 0);
}

// A folder whose template opens the thinking itself, as those of the 2507 Thinking models do.
class ThinkingBudget : public testing::TestWithParam<int> {};

TEST_P(ThinkingBudget, HoldsToTheToken) {
  const TempFolder home;
  const std::string folder = write_model(home);
  edit_json(folder, "tokenizer_config.json", [](Json& json) {
    json["chat_template"] = json.find("chat_template")->as_string() + "{{- '<think>\\n' }}";
  });
  const int budget = GetParam();
  // Neither the end of the thinking nor the end of the answer may come by itself; nor may a second thinking block.
  const Json report = run_json(
      generate({"-m", folder, "-p", "Hello", "-n", "260", "--json", "--thinking-budget", std::to_string(budget),
                "--logit-bias", "256=-1000,257=-1000,258=-1000,259=-1000,263=-1000,264=-1000"}));
  ASSERT_TRUE(report.is_object());
  EXPECT_EQ(count_of(report, "thinking_tokens"), budget);
  EXPECT_EQ(count_of(report, "completion_tokens"), 260);
  EXPECT_NE(report.find("thinking")
                ->as_string()
                .find("Considering the limited time by the user, I have to give the "
                      "solution based on the thinking directly now."),
            std::string::npos);
  EXPECT_FALSE(text_of(report).empty()) << "the answer goes on after the stop sentence";
}

INSTANTIATE_TEST_SUITE_P(Tokens, ThinkingBudget, testing::Values(0, 1, 7, 50));

TEST(ThinkingBudgetAbsent, ThinkingGoesOn) {
  const TempFolder home;
  const std::string folder = write_model(home);
  edit_json(folder, "tokenizer_config.json", [](Json& json) {
    json["chat_template"] = json.find("chat_template")->as_string() + "{{- '<think>\\n' }}";
  });
  const Json report = run_json(
      generate({"-m", folder, "-p", "Hello", "-n", "120", "--json", "--logit-bias", "256=-1000,258=-1000,264=-1000"}));
  EXPECT_EQ(count_of(report, "thinking_tokens"), 120);
  EXPECT_EQ(text_of(report), "");
}

}  // namespace
}  // namespace inkstone::e2e
