// inkstone bench --write, show, tokenize, doctor: what a model folder holds and how the program sees it.
#include <gtest/gtest.h>

#include <map>

#include "process.h"

namespace inkstone::e2e {
namespace {

struct Format {
  const char* name;
  Arguments flags;
  const char* quantization;  // as show says it
};

// Names of GoogleTest's parameters.
void PrintTo(const Format& format, std::ostream* out) { *out << format.name; }

std::vector<Format> formats() {
  std::vector<Format> list;
  static const char* const affine[][3] = {
      {"2", "64", "affine 2 bits, groups of 64"}, {"3", "32", "affine 3 bits, groups of 32"},
      {"4", "32", "affine 4 bits, groups of 32"}, {"4", "64", "affine 4 bits, groups of 64"},
      {"5", "64", "affine 5 bits, groups of 64"}, {"6", "32", "affine 6 bits, groups of 32"},
      {"8", "64", "affine 8 bits, groups of 64"}};
  for (const auto& [bits, group, text] : affine) list.push_back({text, {"--bits", bits, "--group-size", group}, text});
  list.push_back({"affine float16", {"--bits", "4", "--dtype", "float16"}, "affine 4 bits, groups of 64"});
  list.push_back({"mxfp4", {"--mode", "mxfp4"}, "mxfp4 4 bits, groups of 32"});
  list.push_back({"mxfp8", {"--mode", "mxfp8"}, "mxfp8 8 bits, groups of 32"});
  list.push_back({"nvfp4", {"--mode", "nvfp4"}, "nvfp4 4 bits, groups of 16"});
  list.push_back({"bf16", {}, "none"});
  list.push_back({"f16", {"--dtype", "float16"}, "none"});
  list.push_back({"f32", {"--dtype", "float32"}, "none"});
  return list;
}

uint64_t weight_bytes(const std::string& folder) {
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    const std::string file = read_text(entry.path());
    uint64_t header = 0;
    for (int i = 7; i >= 0; --i) header = header << 8 | static_cast<unsigned char>(file.at(static_cast<size_t>(i)));
    bytes += file.size() - 8 - header;
  }
  return bytes;
}

class Formats : public testing::TestWithParam<std::tuple<const char*, Format>> {};

TEST_P(Formats, WrittenShownAndRun) {
  const auto& [shape, format] = GetParam();
  const TempFolder home;
  Arguments flags{"--shape", shape, "--seed", "3"};
  flags.insert(flags.end(), format.flags.begin(), format.flags.end());
  const std::string folder = write_model(home, flags);

  const Json shown = run_json({"show", folder, "--json"});
  ASSERT_TRUE(shown.is_object());
  EXPECT_EQ(shown.find("quantization")->as_string(), format.quantization);
  EXPECT_EQ(shown.find("bytes")->as_int(), static_cast<int64_t>(weight_bytes(folder)));
  EXPECT_EQ(shown.find("model_type")->as_string(), std::string(shape) == "tiny" ? "qwen3" : "qwen3_moe");
  EXPECT_NEAR(shown.find("bits_per_weight")->as_double(),
              8.0 * static_cast<double>(weight_bytes(folder)) / shown.find("parameters")->as_double(), 1e-9);

  const Arguments arguments{
      "generate", "-m", folder, "-p", "Hello", "-n", "12", "--temp", "0", "--json", "--logit-bias=256=-1000,258=-1000"};
  const Json report = run_json(arguments);
  ASSERT_TRUE(report.is_object());
  EXPECT_EQ(report.find("completion_tokens")->as_int(), 12);
  const Json again = run_json(arguments);
  EXPECT_EQ(again.find("text")->as_string(), report.find("text")->as_string());
}

INSTANTIATE_TEST_SUITE_P(All, Formats,
                         testing::Combine(testing::Values("tiny", "tiny-moe"), testing::ValuesIn(formats())),
                         [](const auto& test) {
                           std::string name = std::string(std::get<0>(test.param)) + "_" + std::get<1>(test.param).name;
                           for (char& c : name)
                             if (isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
                           return name;
                         });

std::map<std::string, std::string> files_of(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    files[entry.path().filename().string()] = read_text(entry.path());
  return files;
}

TEST(BenchWrite, SameSeedSameBytesOtherSeedOtherBytes) {
  const TempFolder home;
  const Arguments flags{"--shape", "tiny-moe", "--mode", "mxfp4", "--seed", "5"};
  const auto first = files_of(write_model(home, flags)), second = files_of(write_model(home, flags));
  EXPECT_GE(first.size(), 5u);
  EXPECT_TRUE(first == second);
  const auto other = files_of(write_model(home, {"--shape", "tiny-moe", "--mode", "mxfp4", "--seed", "6"}));
  EXPECT_NE(first.at("model.safetensors"), other.at("model.safetensors"));
}

TEST(BenchWrite, WhatDoesNotFitIsAUsageError) {
  const TempFolder home;
  const std::string folder = home.file("model");
  for (const Arguments& flags : {Arguments{"--shape", "tiny", "--bits", "7"}, Arguments{"--shape", "giant"},
                                 Arguments{"--shape", "tiny", "--bits", "4", "--group-size", "128"},
                                 Arguments{"--shape", "tiny", "--bits", "4", "--group-size", "48"},
                                 Arguments{"--shape", "tiny", "--mode", "mxfp4", "--bits", "8"},
                                 Arguments{"--shape", "tiny", "--mode", "nvfp4", "--group-size", "32"},
                                 Arguments{"--shape", "tiny", "--group-size", "32"}}) {
    Arguments all{"bench", "--write", folder};
    all.insert(all.end(), flags.begin(), flags.end());
    const Outcome outcome = run(all);
    EXPECT_EQ(outcome.code, 2) << flags.back() << ": " << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(folder)) << flags.back();
  }
}

TEST(BenchWrite, AFolderThatCannotBeMadeIsAnInputOutputError) {
  const TempFolder home;
  write_text(home.file("file"), "");
  const Outcome outcome = run({"bench", "--shape", "tiny", "--write", home.file("file") + "/model"});
  EXPECT_EQ(outcome.code, 9) << outcome.err;
  EXPECT_TRUE(outcome.err.starts_with("inkstone: ")) << outcome.err;
}

TEST(Show, AsTextTensorsAndContext) {
  const TempFolder home;
  const std::string folder = write_model(home);
  const Outcome text = run({"show", folder, "--tensors"});
  EXPECT_EQ(text.code, 0);
  for (const char* part : {"model_type", "qwen3", "affine 4 bits, groups of 32", "model.embed_tokens.weight",
                           "model.layers.1.self_attn.q_proj.scales", "U32"})
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
  EXPECT_EQ(text.err, "");

  const Json json = run_json({"show", "-m", folder, "--json", "--tensors", "-c", "1000"});
  EXPECT_EQ(json.find("context")->as_int(), 1000);
  EXPECT_EQ(json.find("memory_bytes")->as_int(),
            json.find("bytes")->as_int() + 1000 * json.find("kv_bytes_per_token")->as_int());
  EXPECT_GT(json.find("memory_available_bytes")->as_int(), json.find("bytes")->as_int());
  // 2 layers, keys and values, 1 head of 16, 2 bytes each.
  EXPECT_EQ(json.find("kv_bytes_per_token")->as_int(), 2 * 2 * 16 * 2);
  EXPECT_GT(json.find("tensors")->as_object().size(), 20u);
  EXPECT_EQ(run({"show", folder, "-c", "40961"}).code, 7);
  // Its heads are too small for groups of 32.
  const Outcome groups = run({"show", folder, "--kv-bits", "8", "--kv-group-size", "32"});
  EXPECT_EQ(groups.code, 2);
  EXPECT_NE(groups.err.find("head_dim 16"), std::string::npos) << groups.err;
  EXPECT_EQ(run({"generate", "-m", folder, "-p", "a", "--kv-bits", "4"}).code, 2);
}

TEST(Tokenize, TypedMarksStayText) {
  const auto ids = [](const Arguments& more, const std::string& input = "") {
    Arguments all{"tokenize", "--json"};
    all.insert(all.end(), more.begin(), more.end());
    return run_json(all, {.input = input}).dump();
  };
  EXPECT_EQ(ids({"-p", "<|im_end|>", "--special"}), "[258]");
  const Json plain = Json::parse(ids({"-p", "<|im_end|>"}), "ids");
  EXPECT_GT(plain.as_array().size(), 1u);
  for (const Json& id : plain.as_array()) EXPECT_NE(id.as_int(), 258);
  EXPECT_EQ(ids({}, "the <think>"), ids({"-p", "the <think>"}));
  EXPECT_EQ(ids({}, ""), "[]");
}

TEST(Tokenize, ListsIdsAndPieces) {
  const Outcome outcome = run({"tokenize", "-p", "a\nb"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_NE(outcome.out.find("\"a\""), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("\"\\n\""), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.err.find("3 tokens"), std::string::npos) << outcome.err;
}

TEST(Tokenize, BytesThatAreNoTextAreRefusedOrShownNotCrashed) {
  const Outcome outcome = run({"tokenize"}, {.input = "a\xff\xfe\x80z"});
  EXPECT_TRUE(outcome.code == 0 || outcome.code == 2) << outcome.code << outcome.err;
}

TEST(Doctor, SaysWhatTheMachineOffers) {
  const Outcome text = run({"doctor"});
  EXPECT_EQ(text.code, 0);
  EXPECT_NE(text.out.find("cpu"), std::string::npos);
  EXPECT_EQ(text.err, "");
  const Json json = run_json({"doctor", "--json"});
  EXPECT_GE(json.find("cpus")->as_int(), 1);
  EXPECT_GT(json.find("memory_bytes")->as_int(), json.find("memory_available_bytes")->as_int());
  EXPECT_FALSE(json.find("device")->as_string().empty());
}

TEST(Usage, HelpAndVersionGoToStandardOutput) {
  const Outcome version = run({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_TRUE(version.out.starts_with("inkstone ")) << version.out;
  for (const Arguments& arguments :
       {Arguments{"--help"}, Arguments{"generate", "--help"}, Arguments{"chat", "--help"}, Arguments{"show", "--help"},
        Arguments{"tokenize", "--help"}, Arguments{"doctor", "--help"}, Arguments{"bench", "--help"}}) {
    const Outcome help = run(arguments);
    EXPECT_EQ(help.code, 0) << arguments[0];
    EXPECT_NE(help.out.find("--help"), std::string::npos) << arguments[0];
    EXPECT_EQ(help.err, "") << arguments[0];
  }
}

TEST(Usage, WhatIsNotKnownIsRefused) {
  for (const Arguments& arguments : {Arguments{"frobnicate"},
                                     Arguments{"--frobnicate"},
                                     Arguments{"generate"},
                                     Arguments{"generate", "-p", "a", "--frobnicate"},
                                     Arguments{"generate", "-p", "a", "-n", "0"},
                                     Arguments{"generate", "-p", "a", "-n", "many"},
                                     Arguments{"generate", "-p", ""},
                                     Arguments{"generate", "-p", "a", "--temp", "-1"},
                                     Arguments{"generate", "-p", "a", "--temp", "nan"},
                                     Arguments{"generate", "-p", "a", "--top-p", "2"},
                                     Arguments{"generate", "-p", "a", "--logit-bias", "x"},
                                     Arguments{"generate", "-p", "a", "--logit-bias", "1=9999"},
                                     Arguments{"generate", "-p", "a", "--thinking-budget", "-1"},
                                     Arguments{"generate", "-p", "a", "-t", "0"},
                                     Arguments{"generate", "-p", "a", "--seed", "x"},
                                     Arguments{"generate", "-p", "a", "--logprobs", "1000"},
                                     Arguments{"generate", "-p", "a", "--kv-bits", "5"},
                                     Arguments{"generate", "-p", "a", "--kv-group-size", "64"},
                                     Arguments{"generate", "-p", "a", "--kv-bits", "8", "--kv-group-size", "16"},
                                     Arguments{"chat", "--kv-bits", "16"},
                                     Arguments{"doctor", "extra"}}) {
    const Outcome outcome = run(arguments);
    std::string line;
    for (const std::string& argument : arguments) line += argument + " ";
    EXPECT_EQ(outcome.code, 2) << line << outcome.err;
    EXPECT_FALSE(outcome.err.empty()) << line;
    EXPECT_EQ(outcome.out, "") << line;
  }
}

}  // namespace
}  // namespace inkstone::e2e
