#include "format/qwen_tokenizer.h"

#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace inkstone {
namespace {

Json byte_level() {
  Json json;
  json["type"] = "ByteLevel";
  json["add_prefix_space"] = false;
  json["trim_offsets"] = false;
  json["use_regex"] = false;
  return json;
}

Json pre_tokenizer() {
  Json split;
  split["type"] = "Split";
  split["pattern"]["Regex"] =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+"
      "|\\s+(?!\\S)|\\s+";
  split["behavior"] = "Isolated";
  split["invert"] = false;
  Json json;
  json["type"] = "Sequence";
  json["pretokenizers"] = Json::Array{split, byte_level()};
  return json;
}

}  // namespace

std::string qwen_tokenizer_json(std::span<const QwenAddedToken> added, std::string_view vocab,
                                std::string_view merges) {
  Json::Array tokens;
  for (const QwenAddedToken& token : added) {
    Json entry;
    entry["id"] = token.id;
    entry["content"] = token.content;
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) entry[flag] = false;
    entry["special"] = token.special;
    tokens.push_back(std::move(entry));
  }
  Json json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = std::move(tokens);
  json["normalizer"]["type"] = "NFC";
  json["pre_tokenizer"] = pre_tokenizer();
  json["post_processor"] = byte_level();
  json["decoder"] = byte_level();
  Json& model = json["model"];
  model["type"] = "BPE";
  for (const char* key : {"dropout", "unk_token"}) model[key] = nullptr;
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) model[key] = "";
  for (const char* key : {"fuse_unk", "byte_fallback", "ignore_merges"}) model[key] = false;
  // The vocabulary goes into the text: as values it would take a hundred times its bytes.
  std::string text = json.dump();
  CHECK(text.ends_with("}}"));
  text.resize(text.size() - 2);
  return text.append(", \"vocab\": ").append(vocab).append(", \"merges\": ").append(merges).append("}}");
}

}  // namespace inkstone
