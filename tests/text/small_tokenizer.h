// Small tokenizers of our own making for the tests of this room: all bytes, a few merges, a few added tokens.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace inkstone {

inline std::string spell(std::string_view bytes) {
  std::string spelled;
  for (const char c : bytes) append_utf8(spelling_of_byte(static_cast<uint8_t>(c)), spelled);
  return spelled;
}

inline const char* const kSmallSplit =
    R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The document as a tree, to be changed by a test before it is dumped. Token of byte b: id b; of merge i: 256 + i.
inline Json small_tokenizer(const std::vector<std::pair<std::string, std::string>>& merges,
                            const std::vector<Json>& added = {}) {
  Json vocab = Json::Object{};
  Json merge_list = Json::Array{};
  for (int b = 0; b < 256; ++b) vocab[spell(std::string(1, static_cast<char>(b)))] = b;
  int next = 256;
  for (const auto& [left, right] : merges) {
    if (!vocab.find(spell(left + right))) vocab[spell(left + right)] = next++;
    merge_list.push_back(Json::Array{spell(left), spell(right)});
  }
  Json document;
  document["version"] = "1.0";
  document["added_tokens"] = Json::Array{};
  for (const Json& token : added) document["added_tokens"].push_back(token);
  document["normalizer"]["type"] = "NFC";
  Json split = Json::parse(R"({"type": "Split", "pattern": {}, "behavior": "Isolated", "invert": false})", "split");
  split["pattern"]["Regex"] = kSmallSplit;
  const Json bytes = Json::parse(
      R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false})", "bytes");
  document["pre_tokenizer"]["type"] = "Sequence";
  document["pre_tokenizer"]["pretokenizers"] = Json::Array{split, bytes};
  document["post_processor"] = nullptr;
  document["decoder"] = bytes;
  document["model"]["type"] = "BPE";
  document["model"]["vocab"] = vocab;
  document["model"]["merges"] = merge_list;
  return document;
}

inline Json added_token(int id, std::string_view content, bool special, std::vector<std::string> flags = {}) {
  Json token;
  token["id"] = id;
  token["content"] = content;
  token["special"] = special;
  token["normalized"] = false;
  for (const std::string& flag : flags) token[flag] = true;
  return token;
}

}  // namespace inkstone
