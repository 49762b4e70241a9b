// What lies, lacks or does not fit: each gives its exit code and one line on stderr that begins with "inkstone: ".
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>

#include "process.h"

namespace inkstone::e2e {
namespace {

// One clear line and the code; nothing on stdout.
void expect_refusal(const Outcome& outcome, int code) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("inkstone: ")) << outcome.err;
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  EXPECT_EQ(outcome.err.find("internal error"), std::string::npos) << outcome.err;
}

// The verbs that open weights.
Outcome answer(const std::string& folder, const Arguments& more = {}, double timeout_s = 60) {
  Arguments all{"generate", "-m", folder, "-p", "Hello", "-n", "4", "--temp", "0"};
  all.insert(all.end(), more.begin(), more.end());
  return run(all, {.timeout_s = timeout_s});
}

class BadInput : public testing::Test {
 protected:
  void SetUp() override { folder_ = write_model(home_); }

  void set(std::string_view file, const char* key, Json value) {
    edit_json(folder_, file, [&](Json& json) { json[key] = std::move(value); });
  }
  // A template of the test's own.
  void set_template(const char* text) { set("tokenizer_config.json", "chat_template", text); }
  std::filesystem::path file(const char* name) const { return std::filesystem::path(folder_) / name; }

  TempFolder home_;
  std::string folder_;
};

TEST_F(BadInput, TheFolderItselfIsGood) { EXPECT_EQ(answer(folder_).code, 0); }

TEST_F(BadInput, MissingFolder) {
  expect_refusal(answer(home_.file("nothing")), 3);
  expect_refusal(run({"show", home_.file("nothing")}), 3);
  expect_refusal(run({"tokenize", "-m", home_.file("nothing")}, {.input = "a"}), 3);
  expect_refusal(run({"chat", "-m", home_.file("nothing")}), 3);
}

TEST_F(BadInput, EmptyFolderAndFileInPlaceOfAFolder) {
  std::filesystem::create_directory(home_.path() / "empty");
  expect_refusal(answer(home_.file("empty")), 3);
  write_text(home_.file("file"), "text");
  expect_refusal(answer(home_.file("file")), 4);  // no GGUF file either
}

TEST_F(BadInput, TruncatedWeights) {
  const auto path = file("model.safetensors");
  const uintmax_t size = std::filesystem::file_size(path);
  for (const uintmax_t keep : {size - 1, size / 2, uintmax_t{100}, uintmax_t{8}, uintmax_t{3}, uintmax_t{0}}) {
    std::filesystem::resize_file(path, keep);
    expect_refusal(answer(folder_), 4);
    expect_refusal(run({"show", folder_}), 4);
  }
}

TEST_F(BadInput, FlippedHeaderBytes) {
  const auto path = file("model.safetensors");
  const std::string good = read_text(path);
  // The length, and bytes all over the header: refused, or harmless (a letter of a name of metadata); never a crash.
  int refused = 0, places = 0;
  for (size_t at = 0; at < 4000; at += at < 8 ? 1 : 331) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x11);
    write_text(path, bad);
    const Outcome outcome = run({"show", folder_});
    ++places;
    if (outcome.code == 0) continue;
    ++refused;
    expect_refusal(outcome, 4);
  }
  EXPECT_GE(refused, places / 2);
}

TEST_F(BadInput, AbsurdConfigurations) {
  const std::string good = read_text(file("config.json"));
  const Json huge(int64_t{1} << 40);
  for (const char* key : {"num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size", "num_attention_heads",
                          "num_key_value_heads", "head_dim", "max_position_embeddings"}) {
    for (const Json& value : {huge, Json(-1), Json(0), Json("2"), Json(1.5)}) {
      write_text(file("config.json"), good);
      set("config.json", key, value);
      const Outcome outcome = answer(folder_);
      EXPECT_EQ(outcome.code, 4) << key << " " << value.dump() << ": " << outcome.err;
      expect_refusal(outcome, outcome.code);
    }
  }
}

TEST_F(BadInput, ConfigurationThatTheWeightsContradict) {
  const std::string good = read_text(file("config.json"));
  for (const auto& [key, value] : {std::pair<const char*, int>{"num_hidden_layers", 3},
                                   {"num_hidden_layers", 1},
                                   {"hidden_size", 128},
                                   {"intermediate_size", 128},
                                   {"vocab_size", 289},
                                   {"num_key_value_heads", 2},
                                   {"head_dim", 32}}) {
    write_text(file("config.json"), good);
    set("config.json", key, Json(value));
    expect_refusal(answer(folder_), 4);
  }
}

TEST_F(BadInput, ConfigurationThatIsNoJson) {
  for (const char* text : {"", "{", "[]", "null", "{\"model_type\": \"qwen3\"}", "\xff\xfe"}) {
    write_text(file("config.json"), text);
    expect_refusal(answer(folder_), 4);
  }
  std::filesystem::remove(file("config.json"));
  expect_refusal(answer(folder_), 3);
}

TEST_F(BadInput, UnsupportedModelType) {
  set("config.json", "model_type", "gpt2");
  const Outcome outcome = answer(folder_);
  expect_refusal(outcome, 5);
  EXPECT_NE(outcome.err.find("gpt2"), std::string::npos);
}

TEST_F(BadInput, PromptLongerThanTheContext) {
  const Outcome outcome = answer(folder_, {"-c", "8"});
  expect_refusal(outcome, 7);
  EXPECT_NE(outcome.err.find("context of 8"), std::string::npos) << outcome.err;
}

TEST_F(BadInput, ContextBeyondTheModelsMaximum) {
  expect_refusal(answer(folder_, {"-c", "40961"}), 7);
  EXPECT_EQ(answer(folder_, {"-c", "40960"}).code, 0);
}

TEST_F(BadInput, TemplatesThatRaiseOrNeverEnd) {
  for (const char* text :
       {"{{ raise_exception('not like this') }}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{{ a * b }}{% endfor %}{% endfor %}",
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "{{ 'ab' * 1000000000000 }}",
        "{% set ns = namespace(s='ab') %}{% for a in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
        "{{ messages[0].nothing.at.all }}", "{{ 1 // 0 }}"}) {
    set_template(text);
    const Outcome outcome = answer(folder_, {}, 30);
    EXPECT_EQ(outcome.code, 8) << text << "\n" << outcome.err;
    expect_refusal(outcome, outcome.code);
  }
  set_template("{{ raise_exception('not like this') }}");
  EXPECT_NE(answer(folder_).err.find("not like this"), std::string::npos);
}

TEST_F(BadInput, TemplateThatIsNoTemplate) {
  for (const char* text : {"{% if", "{{ 'open", "{% endfor %}", "{% frobnicate %}"}) {
    set_template(text);
    const Outcome outcome = answer(folder_);
    EXPECT_TRUE(outcome.code == 8 || outcome.code == 4) << text << " " << outcome.code;
    expect_refusal(outcome, outcome.code);
  }
}

TEST_F(BadInput, NoTemplateGeneratesRawOnly) {
  edit_json(folder_, "tokenizer_config.json", [](Json& json) {
    std::erase_if(json.as_object(), [](const Json::Member& member) { return member.first == "chat_template"; });
  });
  EXPECT_EQ(answer(folder_, {"--raw"}).code, 0);
  expect_refusal(answer(folder_), 3);
  expect_refusal(run({"chat", "-m", folder_}, {.input = "hello\n"}), 3);
}

TEST_F(BadInput, MissingShard) {
  std::filesystem::rename(file("model.safetensors"), file("model-00001-of-00002.safetensors"));
  edit_json(folder_, "model.safetensors.index.json", [](Json& json) {
    bool other = false;
    for (auto& [name, shard] : json["weight_map"].as_object()) {
      shard = Json(other ? "model-00002-of-00002.safetensors" : "model-00001-of-00002.safetensors");
      other = !other;
    }
  });
  const Outcome outcome = answer(folder_);
  EXPECT_TRUE(outcome.code == 3 || outcome.code == 4) << outcome.code;
  expect_refusal(outcome, outcome.code);
  EXPECT_NE(outcome.err.find("model-00002-of-00002.safetensors"), std::string::npos) << outcome.err;
}

TEST_F(BadInput, ShardOutsideOfTheFolder) {
  edit_json(folder_, "model.safetensors.index.json", [](Json& json) {
    for (auto& [name, shard] : json["weight_map"].as_object()) shard = Json("../../../etc/passwd");
  });
  std::filesystem::remove(file("model.safetensors"));
  const Outcome outcome = answer(folder_);
  EXPECT_TRUE(outcome.code == 3 || outcome.code == 4) << outcome.code;
  expect_refusal(outcome, outcome.code);
}

TEST_F(BadInput, BadTokenizers) {
  const std::string good = read_text(file("tokenizer.json"));
  for (const std::string& text : {std::string(), std::string("{"), std::string("{}"), std::string("[1]"),
                                  good.substr(0, good.size() / 2), std::string(100000, '[')}) {
    write_text(file("tokenizer.json"), text);
    expect_refusal(answer(folder_), 4);
    expect_refusal(run({"tokenize", "-m", folder_, "-p", "a"}), 4);
  }
  std::filesystem::remove(file("tokenizer.json"));
  expect_refusal(answer(folder_), 3);
}

TEST_F(BadInput, NamedPipesAndFoldersInPlaceOfFiles) {
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    const std::string good = read_text(file(name));
    std::filesystem::remove(file(name));
    ASSERT_EQ(mkfifo(file(name).c_str(), 0600), 0);
    expect_refusal(answer(folder_, {}, 10), 9);
    std::filesystem::remove(file(name));
    std::filesystem::create_directory(file(name));
    expect_refusal(answer(folder_, {}, 10), 9);
    std::filesystem::remove(file(name));
    write_text(file(name), good);
  }
}

TEST_F(BadInput, WhatAFileSaysCannotWriteToTheTerminal) {
  set("config.json", "model_type", "gpt\x1b]0;title\x07\nsecond line\xc2\x9b");
  const Outcome outcome = answer(folder_);
  expect_refusal(outcome, 5);
  for (const char* control : {"\x1b", "\x07", "\xc2\x9b"})
    EXPECT_EQ(outcome.err.find(control), std::string::npos) << outcome.err;
}

TEST_F(BadInput, TemplateErrorOfSeveralLines) {
  set_template("{{ raise_exception('first\nsecond') }}");
  expect_refusal(answer(folder_), 8);
}

TEST_F(BadInput, MissingAdapter) { expect_refusal(answer(folder_, {"--adapter", home_.file("nothing")}), 3); }

TEST_F(BadInput, FullDisk) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  for (const Arguments& arguments : {Arguments{"generate", "-m", folder_, "-p", "Hello", "-n", "4"},
                                     Arguments{"generate", "-m", folder_, "-p", "Hello", "-n", "4", "--json"},
                                     Arguments{"show", folder_}, Arguments{"doctor"}}) {
    const Outcome outcome = run(arguments, {.output = "/dev/full"});
    EXPECT_EQ(outcome.code, 9) << arguments[0];
    EXPECT_NE(outcome.err.find("inkstone: standard output: cannot write"), std::string::npos) << outcome.err;
  }
}

// Bytes that are no UTF-8 in a prompt: an answer or a clear refusal, and the report stays JSON.
TEST_F(BadInput, PromptThatIsNoText) {
  for (const char* prompt : {"\xff\xfe", "a\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80"}) {
    const Outcome outcome = answer(folder_, {"--json", "--system", prompt});
    EXPECT_TRUE(outcome.code == 0 || outcome.code == 2) << outcome.code << outcome.err;
    const Outcome piped = run({"generate", "-m", folder_, "-n", "2", "-p", "-", "--json"}, {.input = prompt});
    EXPECT_TRUE(piped.code == 0 || piped.code == 2) << piped.code << piped.err;
    if (piped.code == 0) {
      EXPECT_TRUE(Json::parse(piped.out, "report").is_object());
    }
    const Outcome raw = run({"generate", "-m", folder_, "-n", "2", "-p", "-", "--raw"}, {.input = prompt});
    EXPECT_TRUE(raw.code == 0 || raw.code == 2) << raw.code << raw.err;
    const Outcome chat = run({"chat", "-m", folder_, "-n", "2"}, {.input = std::string(prompt) + "\n"});
    EXPECT_TRUE(chat.code == 0 || chat.code == 2) << chat.code << chat.err;
  }
}

// A header for far more weights than any memory holds, and a hole for the bytes.
TEST_F(BadInput, ModelThatDoesNotFitInMemory) {
  constexpr int64_t kHidden = 8192, kIntermediate = int64_t{1} << 20, kVocab = 288, kHeads = 64, kHeadDim = 128;
  constexpr int kLayers = 64;  // of 3 x 8192 x 2^20 bf16 weights, 52 GB each: 3.3 TB
  int64_t offset = 0;
  Json header;
  const auto add = [&](const std::string& name, std::initializer_list<int64_t> shape) {
    Json entry;
    entry["dtype"] = "BF16";
    entry["shape"] = Json::Array();
    int64_t bytes = 2;
    for (const int64_t size : shape) {
      entry["shape"].push_back(size);
      bytes *= size;
    }
    entry["data_offsets"] = Json::Array{Json(offset), Json(offset + bytes)};
    offset += bytes;
    header[name + ".weight"] = std::move(entry);
  };
  add("model.embed_tokens", {kVocab, kHidden});
  add("lm_head", {kVocab, kHidden});
  add("model.norm", {kHidden});
  for (int i = 0; i < kLayers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i);
    add(layer + ".input_layernorm", {kHidden});
    add(layer + ".post_attention_layernorm", {kHidden});
    for (const char* name : {"q", "k", "v"}) add(layer + ".self_attn." + name + "_proj", {kHeads * kHeadDim, kHidden});
    add(layer + ".self_attn.o_proj", {kHidden, kHeads * kHeadDim});
    add(layer + ".self_attn.q_norm", {kHeadDim});
    add(layer + ".self_attn.k_norm", {kHeadDim});
    add(layer + ".mlp.gate_proj", {kIntermediate, kHidden});
    add(layer + ".mlp.up_proj", {kIntermediate, kHidden});
    add(layer + ".mlp.down_proj", {kHidden, kIntermediate});
  }
  edit_json(folder_, "config.json", [&](Json& json) {
    std::erase_if(json.as_object(), [](const Json::Member& m) { return m.first.starts_with("quantization"); });
    json["num_hidden_layers"] = kLayers;
    json["max_window_layers"] = kLayers;
    json["hidden_size"] = kHidden;
    json["intermediate_size"] = kIntermediate;
    json["num_attention_heads"] = kHeads;
    json["num_key_value_heads"] = kHeads;
    json["head_dim"] = kHeadDim;
  });
  std::filesystem::remove(file("model.safetensors.index.json"));
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(text.size() >> (8 * i));
  write_text(file("model.safetensors"), bytes + text);
  std::error_code no_room;
  std::filesystem::resize_file(file("model.safetensors"), bytes.size() + text.size() + static_cast<size_t>(offset),
                               no_room);
  if (no_room) GTEST_SKIP() << "this file system has no sparse files of " << offset << " bytes";

  // It is a folder like any other: show reads its header.
  EXPECT_EQ(run_json({"show", folder_, "--json"}).find("bytes")->as_int(), offset);
  for (const Outcome& outcome :
       {answer(folder_), answer(folder_, {"-c", "16"}), run({"chat", "-m", folder_}, {.input = "hello\n"})}) {
    expect_refusal(outcome, 6);
    EXPECT_NE(outcome.err.find("memory"), std::string::npos) << outcome.err;
    EXPECT_LT(outcome.err.size(), 400u);
  }
}

}  // namespace
}  // namespace inkstone::e2e
