// tokenizer.json and tokenizer_config.json of a GGUF file (gguf_config.h).
#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "format/gguf_config.h"
#include "format/qwen_tokenizer.h"

namespace inkstone {
namespace {

constexpr size_t kMaxTokens = size_t{1} << 24;

// What tokenizer.ggml.token_type says of a token.
enum TokenType : int64_t { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5 };

struct Tokens {
  std::vector<std::string_view> texts;
  std::vector<int64_t> types;
};

Tokens read_tokens(const GgufFields& fields) {
  const auto expect = [&](const char* key, std::string_view expected) {
    const std::string_view found = fields.text(key);
    if (found != expected)
      fail(Errc::unsupported, "{}: {}: found {}, expected \"{}\"", fields.origin(), key,
           json_quote(found.substr(0, 80)), expected);
  };
  expect("tokenizer.ggml.model", "gpt2");
  expect("tokenizer.ggml.pre", "qwen2");
  for (const char* key : {"tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_space_prefix"})
    if (fields.maybe_boolean(key).value_or(false))
      fail(Errc::unsupported, "{}: {}: found true, expected false", fields.origin(), key);
  Tokens tokens{fields.texts("tokenizer.ggml.tokens"), fields.integers("tokenizer.ggml.token_type")};
  if (tokens.texts.size() > kMaxTokens)
    fail(Errc::bad_file, "{}: tokenizer.ggml.tokens: found {}, expected at most {}", fields.origin(),
         tokens.texts.size(), kMaxTokens);
  if (tokens.types.size() != tokens.texts.size())
    fail(Errc::bad_file, "{}: tokenizer.ggml.token_type: found {}, expected {} as there are tokens", fields.origin(),
         tokens.types.size(), tokens.texts.size());
  for (size_t i = 0; i < tokens.types.size(); ++i)
    if (const int64_t type = tokens.types[i];
        type != kNormal && type != kControl && type != kUserDefined && type != kUnused)
      fail(Errc::unsupported, "{}: tokenizer.ggml.token_type: {}: found {}, expected 1, 3, 4 or 5", fields.origin(), i,
           type);
  return tokens;
}

GgufFields fields_of(const std::vector<Gguf>& files) { return {files.front().header(), files.front().path().string()}; }

}  // namespace

// Built as text: a vocabulary has 150000 entries, and the reader parses text.
std::string gguf_tokenizer_json(const std::vector<Gguf>& files) {
  const GgufFields fields = fields_of(files);
  const Tokens tokens = read_tokens(fields);
  std::vector<QwenAddedToken> added;
  std::string vocab, merges;
  for (size_t i = 0; i < tokens.texts.size(); ++i) {
    if (tokens.types[i] == kNormal)
      vocab += fmt::format("{}{}:{}", vocab.empty() ? "" : ",", json_quote(tokens.texts[i]), i);
    else if (tokens.types[i] != kUnused)  // an unused one only fills the embedding's rows
      added.push_back({std::string(tokens.texts[i]), static_cast<int>(i), tokens.types[i] == kControl});
  }
  for (const std::string_view merge : fields.texts("tokenizer.ggml.merges"))
    merges += (merges.empty() ? "" : ",") + json_quote(merge);
  return qwen_tokenizer_json(added, "{" + vocab + "}", "[" + merges + "]");
}

std::string gguf_tokenizer_config_json(const std::vector<Gguf>& files) {
  const GgufFields fields = fields_of(files);
  const Tokens tokens = read_tokens(fields);
  Json json;
  json["add_bos_token"] = false;
  json["add_prefix_space"] = false;
  json["bos_token"] = nullptr;
  const auto add = [&](const char* name, const char* key) {
    const auto id = fields.maybe_integer(key, static_cast<int64_t>(kMaxTokens));
    if (!id) return;
    if (static_cast<size_t>(*id) >= tokens.texts.size())
      fail(Errc::bad_file, "{}: {}: found {}, expected one of {} tokens", fields.origin(), key, *id,
           tokens.texts.size());
    json[name] = tokens.texts[static_cast<size_t>(*id)];
  };
  add("eos_token", "tokenizer.ggml.eos_token_id");
  add("pad_token", "tokenizer.ggml.padding_token_id");
  json["unk_token"] = nullptr;
  json["clean_up_tokenization_spaces"] = false;
  json["tokenizer_class"] = "Qwen2Tokenizer";
  if (const auto source = fields.maybe_text("tokenizer.chat_template")) json["chat_template"] = *source;
  return json.dump(2);
}

}  // namespace inkstone
