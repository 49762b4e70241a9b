// inkstone bench: what it measures and says, and what it refuses.
#include <gtest/gtest.h>

#include "process.h"

namespace inkstone::e2e {
namespace {

double number(const Json& object, const char* key) {
  const Json* value = object.find(key);
  EXPECT_TRUE(value != nullptr && value->is_number()) << key;
  return value != nullptr && value->is_number() ? value->as_double() : -1;
}

std::string text(const Json& object, const char* key) {
  const Json* value = object.find(key);
  EXPECT_TRUE(value != nullptr && value->is_string()) << key;
  return value != nullptr && value->is_string() ? value->as_string() : "";
}

// What every report must have, and what its figures must agree on.
void check_report(const Json& report, size_t results) {
  ASSERT_TRUE(report.is_object());
  const Json& machine = *report.find("machine");
  EXPECT_FALSE(text(machine, "cpu").empty());
  EXPECT_FALSE(text(machine, "isa").empty());
  EXPECT_EQ(number(machine, "threads"), 2);
  const double read = number(machine, "read_gbps");
  EXPECT_GT(read, 0.1);
  EXPECT_GT(number(machine, "f32_tflops"), 1e-4);
  EXPECT_GT(number(report, "load_seconds"), 0);
  EXPECT_GT(number(report, "first_token_seconds"), 0);
  EXPECT_GT(number(*report.find("memory"), "anonymous"), 0);
  EXPECT_GT(number(*report.find("memory"), "total"), number(*report.find("memory"), "anonymous"));
  ASSERT_EQ(report.find("results")->as_array().size(), results);
  for (const Json& result : report.find("results")->as_array()) {
    SCOPED_TRACE(result.dump());
    const bool prefill = text(result, "kind") == "prefill";
    EXPECT_TRUE(prefill || text(result, "kind") == "decode");
    EXPECT_EQ(number(result, prefill ? "depth" : "tokens"), prefill ? 0 : number(result, "batch"));
    EXPECT_NEAR(number(result, "tokens_per_s") * number(result, "seconds"), number(result, "tokens"), 1e-6);
    EXPECT_GT(number(result, "fraction"), 0);
    EXPECT_LT(number(result, "fraction"), 1.5);
    EXPECT_GE(number(result, "repeats"), 1);
    // The fraction is that of the ceiling it names.
    const std::string ceiling = text(result, "ceiling");
    if (ceiling == "read")
      EXPECT_NEAR(number(result, "fraction"), number(result, "gbps") / read, 1e-6);
    else
      EXPECT_NEAR(number(result, "fraction"),
                  number(result, "tflops") /
                      number(machine, (ceiling + (ceiling.find("int") == ceiling.npos ? "_tflops" : "_tops")).c_str()),
                  1e-6);
  }
}

const Arguments kSmall{"--prompt-tokens", "16,600", "--depths", "0,40", "--batches", "1,3", "--repeat", "2", "-t", "2"};

Arguments bench(const Arguments& flags) {
  Arguments all{"bench"};
  all.insert(all.end(), flags.begin(), flags.end());
  all.insert(all.end(), kSmall.begin(), kSmall.end());
  return all;
}

TEST(Bench, ReportsAShape) {
  const Json report = run_json(bench({"--shape", "tiny-moe", "--bits", "4", "--json"}));
  check_report(report, 5);  // two prompts, two depths with one conversation, three conversations at depth 0
  const Json& model = *report.find("model");
  EXPECT_EQ(text(model, "shape"), "tiny-moe");
  EXPECT_EQ(text(model, "quantization"), "affine 4 bits, groups of 64");
  EXPECT_EQ(number(model, "layers"), 2);
  EXPECT_FALSE(model.find("scaled")->as_bool());
  const Json::Array& results = report.find("results")->as_array();
  EXPECT_EQ(number(results[1], "tokens"), 600);
  EXPECT_EQ(number(results[3], "depth"), 40);
  EXPECT_EQ(number(results[4], "batch"), 3);
}

TEST(Bench, ReportsAFolderInFloat32) {
  const TempFolder home;
  const std::string folder = write_model(home);
  const Json report = run_json(bench({"-m", folder, "--json", "--precision", "f32", "--isa", "scalar"}));
  check_report(report, 5);
  EXPECT_EQ(text(*report.find("model"), "shape"), folder);
  EXPECT_EQ(text(*report.find("machine"), "isa"), "scalar");
  EXPECT_EQ(text(report, "precision"), "f32");
  const Json shown = run_json({"show", folder, "--json"});
  EXPECT_EQ(number(*report.find("model"), "params"), number(shown, "parameters"));
  EXPECT_EQ(number(*report.find("model"), "bytes"), number(shown, "bytes"));
}

TEST(Bench, SomeLayersAreScaledAndItSaysSo) {
  const Json report = run_json(bench({"--shape", "tiny", "--layers", "1", "--json"}));
  ASSERT_TRUE(report.is_object());
  const Json& model = *report.find("model");
  EXPECT_TRUE(model.find("scaled")->as_bool());
  EXPECT_EQ(number(model, "layers"), 1);
  EXPECT_EQ(number(model, "published_layers"), 2);
  for (const Json& result : report.find("results")->as_array()) {
    EXPECT_GT(number(result, "seconds"), number(result, "measured_seconds"));
    EXPECT_LT(number(result, "seconds"), 2 * number(result, "measured_seconds"));  // the head is not scaled
  }
  const Outcome table = run(bench({"--shape", "tiny", "--layers", "1"}));
  EXPECT_NE(table.out.find("scaled from 1 to all 2 layers"), std::string::npos) << table.out;
}

TEST(Bench, ATableForPeople) {
  const Outcome outcome = run({"bench", "--shape", "tiny", "--prompt-tokens", "0", "--batches", "2", "--depths", "7"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  for (const char* part : {"ceilings: read ", "f32 ", "tiny: quantisation none", "tokens/s", "decode ", " % "})
    EXPECT_NE(outcome.out.find(part), std::string::npos) << part << "\n" << outcome.out;
  EXPECT_EQ(outcome.out.find("prompt  "), std::string::npos) << outcome.out;
}

TEST(Bench, RefusesWhatItCannotMeasure) {
  const TempFolder home;
  const std::string folder = write_model(home);
  for (const Arguments& flags :
       {Arguments{}, Arguments{"--shape", "tiny", "-m", folder}, Arguments{"-m", folder, "--write", home.file("x")},
        Arguments{"--shape", "tiny", "--prompt-tokens", "12,x"}, Arguments{"--shape", "tiny", "--prompt-tokens", "-1"},
        Arguments{"--shape", "tiny", "--prompt-tokens", "0,12"}, Arguments{"--shape", "tiny", "--depths=-5"},
        Arguments{"--shape", "tiny", "--batches", "1,1000"}, Arguments{"--shape", "tiny", "--layers", "3"},
        Arguments{"-m", folder, "--layers", "1"}, Arguments{"--shape", "tiny", "--repeat", "0"},
        Arguments{"--shape", "tiny", "--isa", "none"}, Arguments{"--shape", "tiny", "--bits", "7"}}) {
    Arguments all{"bench"};
    all.insert(all.end(), flags.begin(), flags.end());
    const Outcome outcome = run(all);
    EXPECT_EQ(outcome.code, 2) << (flags.empty() ? "" : flags.back()) << ": " << outcome.out << outcome.err;
  }
  EXPECT_EQ(run({"bench", "--shape", "tiny", "--depths", "40960"}).code, 7);
  EXPECT_EQ(run({"bench", "-m", home.file("nothing")}).code, 3);
}

TEST(Bench, WhatDoesNotFitIntoMemoryIsNotBegun) {
  const Outcome outcome = run({"bench", "--shape", "qwen3-235b-a22b"}, {.timeout_s = 10});
  EXPECT_EQ(outcome.code, 6) << outcome.err;
  EXPECT_NE(outcome.err.find("GB of memory available"), std::string::npos) << outcome.err;
}

TEST(Bench, DefaultsFitTheModelsContext) {
  const Json report = run_json({"bench", "-m", "embedded:/nano", "--batches", "1", "--repeat", "1", "--json"});
  ASSERT_TRUE(report.is_object());
  for (const Json& result : report.find("results")->as_array()) {
    EXPECT_LE(number(result, "tokens"), 2048);
    EXPECT_LT(number(result, "depth"), 2048);
  }
}

TEST(Bench, WritesOverNothing) {
  const TempFolder home;
  const std::string folder = write_model(home);
  const std::string before = read_text(folder + "/config.json");
  const Outcome outcome = run({"bench", "--shape", "tiny", "--write", folder});
  EXPECT_EQ(outcome.code, 2) << outcome.err;
  EXPECT_NE(outcome.err.find("expected a new or empty one"), std::string::npos) << outcome.err;
  EXPECT_EQ(read_text(folder + "/config.json"), before);
}

TEST(Bench, CtrlCEndsIt) {
  Terminal terminal({"bench", "--shape", "tiny", "--repeat", "1000", "--prompt-tokens", "20000"});
  EXPECT_TRUE(terminal.expect("prompt of 20000 tokens")) << terminal.screen();
  terminal.send(kCtrlC);
  EXPECT_EQ(terminal.wait(), 130);
  EXPECT_EQ(terminal.screen().find("tokens/s"), std::string::npos);
}

}  // namespace
}  // namespace inkstone::e2e
