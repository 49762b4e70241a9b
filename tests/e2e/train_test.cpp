// inkstone train and eval, on the tiny random model: what they print, what they leave, and how training goes on.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>

#include "process.h"

namespace inkstone::e2e {
namespace {

const std::string kModel = INKSTONE_SOURCE_DIR "/models/tiny";

std::string example(const std::string& prompt, const std::string& completion) {
  Json line;
  line["prompt"] = prompt;
  line["completion"] = completion;
  return line.dump() + "\n";
}

// A folder with a few facts.
std::string write_data(const TempFolder& folder) {
  const std::filesystem::path data = folder.path() / "data";
  std::filesystem::create_directories(data);
  std::string lines;
  for (const char* colour : {"red", "green", "blue", "white", "black", "brown"})
    lines += example(std::string("Is it ") + colour + "?", std::string("It is ") + colour + ".");
  write_text(data / "train.jsonl", lines);
  write_text(data / "valid.jsonl", lines);
  write_text(data / "test.jsonl", lines);
  return data.string();
}

Outcome train(const TempFolder& folder, const std::string& adapters, const Arguments& more,
              const RunOptions& options = {}) {
  Arguments all{"train",
                "--train",
                "--model",
                kModel,
                "--data",
                (folder.path() / "data").string(),
                "--batch-size",
                "3",
                "--adapter-path",
                folder.file(adapters),
                "--steps-per-report",
                "1",
                "--val-batches",
                "-1"};
  const auto unless_given = [&](const char* flag, const char* value) {
    if (std::ranges::find(more, flag) == more.end()) all.insert(all.end(), {flag, value});
  };
  unless_given("--num-layers", "-1");
  unless_given("--learning-rate", "1e-2");
  all.insert(all.end(), more.begin(), more.end());
  return run(all, options);
}

std::vector<double> losses(const std::string& text, const std::string& kind) {
  std::vector<double> found;
  const std::regex pattern(kind + " loss ([0-9.]+)");
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at)
    found.push_back(std::stod((*at)[1]));
  return found;
}

std::string newest(const std::filesystem::path& folder) {
  std::string name;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string candidate = entry.path().filename().string();
    if (candidate.ends_with("_adapters.safetensors")) name = std::max(name, candidate);
  }
  return name;
}

TEST(Train, LowersTheLossAndLeavesAnAdapterThatLoads) {
  const TempFolder folder;
  write_data(folder);
  const Outcome outcome = train(folder, "a", {"--iters", "30", "--mask-prompt", "--test"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::vector<double> trained = losses(outcome.out, "train"), valid = losses(outcome.out, "validation");
  ASSERT_EQ(trained.size(), 30u) << outcome.out;
  EXPECT_LT(trained.back(), 0.7 * trained.front());
  ASSERT_EQ(valid.size(), 2u) << outcome.out;
  EXPECT_LT(valid.back(), 0.7 * valid.front());
  EXPECT_EQ(losses(outcome.out, "test").size(), 1u) << outcome.out;
  const std::string metrics = read_text(folder.path() / "a" / "metrics.jsonl");
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 32) << metrics;
  EXPECT_NE(read_text(folder.path() / "a" / "loss.svg").find("</svg>"), std::string::npos);
  const Json config = Json::parse(read_text(folder.path() / "a" / "adapter_config.json"), "adapter_config.json");
  EXPECT_EQ(*config.find("fine_tune_type"), Json("lora"));
  const Outcome tuned = run({"generate", "--model", kModel, "--adapter", folder.file("a"), "-p", "Is it red?", "-n",
                             "4", "--temp", "0", "--no-think"});
  EXPECT_EQ(tuned.code, 0) << tuned.err;
}

TEST(Train, EveryKindAndOptimiserTrains) {
  const TempFolder folder;
  write_data(folder);
  for (const char* type : {"lora", "dora", "full"}) {
    for (const char* optimizer : {"adam", "adamw", "sgd"}) {
      SCOPED_TRACE(std::string(type) + " " + optimizer);
      const Outcome outcome =
          train(folder, std::string(type) + optimizer,
                {"--iters", "6", "--fine-tune-type", type, "--optimizer", optimizer, "--learning-rate", "3e-3",
                 "--grad-accumulation-steps", "2", "--max-grad-norm", "1"});
      ASSERT_EQ(outcome.code, 0) << outcome.err;
      const std::vector<double> trained = losses(outcome.out, "train");
      ASSERT_EQ(trained.size(), 6u);
      EXPECT_LT(trained.back(), trained.front());
    }
  }
}

// One run of 12 iterations, and one of 6 that goes on: the same file to the byte, with other numbers of threads, and
// with activations that are kept or computed again.
TEST(Train, ResumesToTheSameBytes) {
  const TempFolder folder;
  write_data(folder);
  const Arguments common{"--save-every", "6", "--optimizer", "adamw", "--fine-tune-type", "dora"};
  const auto with = [&](Arguments more) {
    more.insert(more.end(), common.begin(), common.end());
    return more;
  };
  ASSERT_EQ(train(folder, "whole", with({"--iters", "12", "--threads", "2"})).code, 0);
  ASSERT_EQ(train(folder, "parts", with({"--iters", "6", "--threads", "1"})).code, 0);
  const Outcome rest =
      train(folder, "parts", with({"--iters", "12", "--threads", "1", "--grad-checkpoint", "--resume"}));
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_NE(rest.out.find("after 6 iterations"), std::string::npos) << rest.out;
  EXPECT_EQ(losses(rest.out, "train").size(), 6u);
  EXPECT_TRUE(read_text(folder.path() / "whole/adapters.safetensors") ==
              read_text(folder.path() / "parts/adapters.safetensors"));
}

TEST(Train, KilledAtAnyMomentItGoesOnFromTheLastCheckpoint) {
  const TempFolder folder;
  write_data(folder);
  for (const double seconds : {1.0, 1.3, 1.7}) {
    const Outcome killed =
        train(folder, "k", {"--iters", "100000", "--save-every", "1"}, {.timeout_s = seconds, .endless = true});
    ASSERT_TRUE(killed.timed_out);
    if (!std::filesystem::is_directory(folder.path() / "k") || newest(folder.path() / "k").empty()) continue;
    const int done = std::stoi(newest(folder.path() / "k"));
    const Outcome on = train(folder, "k", {"--iters", std::to_string(done + 1), "--resume"});
    ASSERT_EQ(on.code, 0) << on.err;
    EXPECT_NE(on.out.find("after " + std::to_string(done) + " iterations"), std::string::npos) << on.out;
    std::filesystem::remove_all(folder.path() / "k");
  }
}

TEST(Train, EarlyStop) {
  const TempFolder folder;
  write_data(folder);
  const Outcome outcome = train(
      folder, "e",
      {"--iters", "50", "--steps-per-eval", "1", "--early-stop", "2", "--learning-rate", "0.5", "--optimizer", "sgd"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_LT(losses(outcome.out, "train").size(), 50u) << outcome.out;
  EXPECT_NE(outcome.out.find("no better validation loss"), std::string::npos) << outcome.out;
}

TEST(Train, SaysWhatIsWrong) {
  const TempFolder folder;
  const std::string data = write_data(folder);
  struct Case {
    Arguments arguments;
    const char* lines;  // of train.jsonl; null: as it is
    int code;
    const char* says;
  };
  const Case cases[] = {
      {{}, "", 3, "found no example"},
      {{}, "{\"text\": \"a b c\"}\n{\"text\": \n", 3, "line 2"},
      {{}, "{\"text\": \"a b c\"}\n{\"texts\": 3}\n", 3, "line 2"},
      {{}, "{\"text\": \"a b c\"}\n", 2, "batch"},
      {{"--num-layers", "0"}, nullptr, 2, "num_layers"},
      {{"--resume-adapter-file", "nowhere.safetensors"}, nullptr, 4, "nowhere"},
      {{"--resume"}, nullptr, 4, "numbered adapter"},
  };
  const std::string good = read_text(data + "/train.jsonl");
  for (const Case& bad : cases) {
    write_text(data + "/train.jsonl", bad.lines != nullptr ? std::string_view(bad.lines) : std::string_view(good));
    Arguments more{"--iters", "2"};
    more.insert(more.end(), bad.arguments.begin(), bad.arguments.end());
    const Outcome outcome = train(folder, "w", more);
    EXPECT_NE(outcome.code, 0) << bad.says;
    EXPECT_NE(outcome.err.find(bad.says), std::string::npos) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
}

// The model's own answers are right, others are not.
TEST(Eval, CountsExactAnswers) {
  const TempFolder folder;
  std::string lines;
  for (const char* prompt : {"Hello", "Red?"}) {
    const Json report =
        run_json({"generate", "--model", kModel, "-p", prompt, "-n", "6", "--temp", "0", "--no-think", "--json"});
    Json line = Json::parse(example(prompt, report.find("text")->as_string()), "line");
    line["category"] = "own";
    lines += line.dump() + "\n";
  }
  Json other = Json::parse(example("Hello", "certainly not this"), "line");
  other["category"] = "other";
  lines += other.dump() + "\n\n";
  write_text(folder.file("q.jsonl"), lines);
  const Arguments arguments{"eval", "--model", kModel, "--data", folder.file("q.jsonl"), "-n", "6", "--no-think"};
  Arguments json = arguments;
  json.insert(json.end(), {"--json", "--wrong"});
  const Json report = run_json(json);
  EXPECT_EQ(*report.find("right"), Json(2));
  EXPECT_EQ(*report.find("asked"), Json(3));
  EXPECT_EQ(*report.find("categories")->find("own")->find("right"), Json(2));
  EXPECT_EQ(*report.find("categories")->find("other")->find("right"), Json(0));
  ASSERT_EQ(report.find("wrong")->as_array().size(), 1u);
  const Outcome table = run(arguments);
  EXPECT_NE(table.out.find("2 of      3"), std::string::npos) << table.out;
  write_text(folder.file("q.jsonl"), "{\"messages\": []}\n");
  EXPECT_NE(run(arguments).err.find("line 1"), std::string::npos);
}

}  // namespace
}  // namespace inkstone::e2e
