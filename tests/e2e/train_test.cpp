// inkstone train and eval, on the tiny random model: what they print, what they leave, and how training goes on.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>

#include "process.h"

namespace inkstone::e2e {
namespace {

// Random weights in 4 bits, made once a process.
const std::string& tiny() {
  static const TempFolder home;
  static const std::string folder = write_model(home);
  return folder;
}

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
                tiny(),
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
  const Outcome tuned = run({"generate", "--model", tiny(), "--adapter", folder.file("a"), "-p", "Is it red?", "-n",
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

// Four batches an update: what is saved in between is not lost, and resumes to the same bytes.
TEST(Train, ResumesInTheMiddleOfAnUpdate) {
  const TempFolder folder;
  write_data(folder);
  const Arguments four{"--grad-accumulation-steps", "4"};
  const auto with = [&](Arguments more) {
    more.insert(more.end(), four.begin(), four.end());
    return more;
  };
  ASSERT_EQ(train(folder, "whole", with({"--iters", "12"})).code, 0);
  ASSERT_EQ(train(folder, "parts", with({"--iters", "6"})).code, 0);
  const Outcome rest = train(folder, "parts", with({"--iters", "12", "--resume"}));
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_NE(rest.out.find("after 4 iterations"), std::string::npos) << rest.out;
  EXPECT_TRUE(read_text(folder.path() / "whole/adapters.safetensors") ==
              read_text(folder.path() / "parts/adapters.safetensors"));
}

// A later, shorter training in the same folder is the one that goes on; weights alone begin anew.
TEST(Train, WhichWeightsItGoesOnWith) {
  const TempFolder folder;
  write_data(folder);
  ASSERT_EQ(train(folder, "a", {"--iters", "9", "--seed", "3"}).code, 0);
  ASSERT_EQ(train(folder, "a", {"--iters", "2"}).code, 0);
  write_text(folder.path() / "a/best_adapters.safetensors", "none");
  const Outcome on = train(folder, "a", {"--iters", "3", "--resume"});
  EXPECT_NE(on.out.find("after 2 iterations"), std::string::npos) << on.out << on.err;
  const Outcome done = train(folder, "a", {"--iters", "3", "--resume"});
  EXPECT_NE(done.out.find("nothing is left to do"), std::string::npos) << done.out << done.err;
  const Outcome anew =
      train(folder, "b", {"--iters", "2", "--resume-adapter-file", folder.file("a/0000009_adapters.safetensors")});
  EXPECT_EQ(losses(anew.out, "train").size(), 2u) << anew.out << anew.err;
}

// --test without --train measures the adapter that is there, whatever its options.
TEST(Train, TestsWhatWasTrainedBefore) {
  const TempFolder folder;
  write_data(folder);
  const Outcome trained = train(folder, "a", {"--iters", "30", "--test", "--num-layers", "1"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const Arguments arguments{
      "train",        "--test", "--model",        tiny(),          "--data", (folder.path() / "data").string(),
      "--batch-size", "3",      "--adapter-path", folder.file("a")};
  const Outcome tested = run(arguments);
  ASSERT_EQ(tested.code, 0) << tested.err;
  EXPECT_EQ(losses(tested.out, "test"), losses(trained.out, "test")) << tested.out;
  Arguments nowhere = arguments;
  nowhere.back() = folder.file("nowhere");
  EXPECT_EQ(run(nowhere).code, 3);
  nowhere.back() = "";
  const Outcome base = run(nowhere);
  EXPECT_EQ(base.code, 0) << base.err;
  EXPECT_NE(losses(base.out, "test"), losses(trained.out, "test")) << base.out;
}

// All weights of a quantised base: fused they are a plain model.
TEST(Train, AllWeightsOfAQuantisedBaseMakeAPlainModel) {
  const TempFolder folder;
  write_data(folder);
  ASSERT_EQ(train(folder, "a", {"--iters", "2", "--fine-tune-type", "full"}).code, 0);
  const Arguments fuse{"fuse", "--model", tiny(), "--adapter-path", folder.file("a"), "--save-path", folder.file("f")};
  const Outcome refused = run(fuse);
  EXPECT_EQ(refused.code, 4);
  EXPECT_NE(refused.err.find("--dequantize"), std::string::npos) << refused.err;
  Arguments plain = fuse;
  plain.push_back("--dequantize");
  EXPECT_EQ(run(plain).code, 0);
  EXPECT_EQ(run({"generate", "--model", folder.file("f"), "-p", "Is it red?", "-n", "4"}).code, 0);
}

// The disk is full at the second checkpoint: one sentence, the first checkpoint whole, nothing half written.
TEST(Train, AFullDiskLeavesWhatWasSaved) {
  const TempFolder folder;
  write_data(folder);
  ASSERT_EQ(train(folder, "a", {"--iters", "2", "--save-every", "2"}).code, 0);
  const std::string saved = read_text(folder.path() / "a/adapters.safetensors");
  const Outcome outcome =
      train(folder, "a", {"--iters", "4", "--save-every", "2", "--resume"}, {.largest_file = 10'000});
  EXPECT_EQ(outcome.code, 9);
  EXPECT_NE(outcome.err.find("cannot write"), std::string::npos) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_TRUE(read_text(folder.path() / "a/adapters.safetensors") == saved);
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "a"))
    EXPECT_NE(entry.path().extension(), ".part") << entry.path();
  const Outcome on = train(folder, "a", {"--iters", "4", "--save-every", "2", "--resume"});
  EXPECT_EQ(on.code, 0) << on.err;
  EXPECT_NE(on.out.find("after 2 iterations"), std::string::npos) << on.out;
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
  EXPECT_EQ(train(folder, "data/train.jsonl", {"--iters", "2"}).code, 9);  // a file where a folder should be
}

// The model's own answers are right, others are not.
TEST(Eval, CountsExactAnswers) {
  const TempFolder folder;
  std::string lines;
  for (const char* prompt : {"Hello", "Red?"}) {
    const Json report =
        run_json({"generate", "--model", tiny(), "-p", prompt, "-n", "6", "--temp", "0", "--no-think", "--json"});
    Json line = Json::parse(example(prompt, report.find("text")->as_string()), "line");
    line["category"] = "own";
    lines += line.dump() + "\n";
  }
  Json other = Json::parse(example("Hello", "certainly not this"), "line");
  other["category"] = "other";
  lines += other.dump() + "\n\n";
  write_text(folder.file("q.jsonl"), lines);
  const Arguments arguments{"eval", "--model", tiny(), "--data", folder.file("q.jsonl"), "-n", "6", "--no-think"};
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
