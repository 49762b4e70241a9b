#include "format/random_tokenizer.h"

#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "format/qwen_tokenizer.h"

namespace inkstone {
namespace {

struct AddedToken {
  std::string_view content;
  int published_id;
  bool special;
};

constexpr AddedToken kAdded[] = {
    {"<|endoftext|>", 151643, true},     {"<|im_start|>", 151644, true},  {"<|im_end|>", 151645, true},
    {"<tool_call>", 151657, false},      {"</tool_call>", 151658, false}, {"<tool_response>", 151665, false},
    {"</tool_response>", 151666, false}, {"<think>", 151667, false},      {"</think>", 151668, false},
};
constexpr int kBytes = 256;
constexpr int kQwenVocab = 151936;
constexpr int kAddedCount = static_cast<int>(std::size(kAdded));

int added_id(int index, int vocab_size) {
  if (vocab_size < kBytes + kAddedCount)
    fail(Errc::usage, "vocab_size {}: expected at least {} for the bytes and the added tokens", vocab_size,
         kBytes + kAddedCount);
  return vocab_size >= kQwenVocab ? kAdded[index].published_id : kBytes + index;
}

void append_utf8(std::string& text, uint32_t c) {
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else {  // all characters here are below U+0800
    text += static_cast<char>(0xc0 | c >> 6);
    text += static_cast<char>(0x80 | (c & 0x3f));
  }
}

// The character that byte-level BPE writes for a byte: itself if it is printable Latin-1, else the next from U+0100.
std::string byte_character(int byte) {
  const auto printable = [](int b) { return (b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad); };
  uint32_t c = static_cast<uint32_t>(byte);
  if (!printable(byte)) {
    c = 0x100;
    for (int b = 0; b < byte; ++b) c += printable(b) ? 0 : 1;
  }
  std::string text;
  append_utf8(text, c);
  return text;
}

// Words whose bytes merge from the left, so that text is not all single bytes. UTF-8 pairs that begin the letters of
// Western, Cyrillic and Chinese text come first.
constexpr std::string_view kMerged[] = {
    "\xc3\xa9", "\xc3\xbc", "\xe4\xb8", "\xe7\x9a\x84", " the",  " of",    " and",   " to",       " in",    " is",
    " that",    " for",     " it",      " with",        " as",   " was",   " on",    " are",      " be",    " this",
    " from",    " have",    " or",      " by",          " one",  " not",   " what",  " all",      " were",  " when",
    " we",      " there",   " can",     " an",          " your", " which", " their", " said",     " if",    " will",
    "ing",      "er",       "ed",       "ion",          "es",    "  ",     "user",   "assistant", "system", "\n\n",
};

struct Bpe {
  Json::Object vocab;
  Json::Array merges;
};

Bpe make_bpe(int vocab_size) {
  Bpe bpe;
  std::vector<std::string> characters;
  for (int byte = 0; byte < kBytes; ++byte) {
    characters.push_back(byte_character(byte));
    bpe.vocab.emplace_back(characters.back(), Json(byte));
  }
  int id = vocab_size >= kQwenVocab ? kBytes : kBytes + kAddedCount;
  std::set<std::string> known;
  for (const std::string_view word : kMerged) {
    std::string left;
    for (const char c : word) {
      const std::string& right = characters[static_cast<unsigned char>(c)];
      if (!left.empty() && !known.contains(left + right)) {
        if (id >= vocab_size) return bpe;
        known.insert(left + right);
        bpe.merges.push_back(Json::Array{Json(left), Json(right)});
        bpe.vocab.emplace_back(left + right, Json(id++));
      }
      left += right;
    }
  }
  return bpe;
}

Json flags(const AddedToken& token) {
  Json json;
  json["content"] = token.content;
  for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) json[flag] = false;
  json["special"] = token.special;
  return json;
}

// ChatML in our own words: one block a message; tools are listed for the system, results come back from the user.
constexpr std::string_view kTemplate = R"({%- macro block(role, text) -%}
{{ '<|im_start|>' + role + '\n' + text + '<|im_end|>\n' }}
{%- endmacro -%}
{%- set ns = namespace(system='', text='') -%}
{%- for message in messages if message.role == 'system' -%}
  {%- set ns.system = ns.system + ('\n\n' if ns.system else '') + message.content -%}
{%- endfor -%}
{%- if tools -%}
  {%- set ns.system = ns.system + ('\n\n' if ns.system else '') + 'Functions that you may call, one JSON object a line:\n' -%}
  {%- for tool in tools -%}
    {%- set ns.system = ns.system + (tool | tojson) + '\n' -%}
  {%- endfor -%}
  {%- set ns.system = ns.system + 'To call one, write <tool_call>\n{"name": ..., "arguments": ...}\n</tool_call>' -%}
{%- endif -%}
{%- if ns.system -%}{{ block('system', ns.system) }}{%- endif -%}
{%- for message in messages -%}
  {%- if message.role == 'user' -%}
    {{ block('user', message.content) }}
  {%- elif message.role == 'assistant' -%}
    {%- set ns.text = message.content or '' -%}
    {%- if '</think>' in ns.text -%}
      {%- set ns.text = ns.text.split('</think>')[-1].lstrip('\n') -%}
    {%- endif -%}
    {%- for call in message.tool_calls or [] -%}
      {%- set function = call.function or call -%}
      {%- set arguments = function.arguments if function.arguments is string else function.arguments | tojson -%}
      {%- set ns.text = ns.text + ('\n' if ns.text else '') + '<tool_call>\n{"name": ' + (function.name | tojson) + ', "arguments": ' + arguments + '}\n</tool_call>' -%}
    {%- endfor -%}
    {{ block('assistant', ns.text) }}
  {%- elif message.role == 'tool' -%}
    {{ block('user', '<tool_response>\n' + message.content + '\n</tool_response>') }}
  {%- elif message.role != 'system' -%}
    {{ raise_exception('unknown role ' + message.role) }}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{ '<|im_start|>assistant\n' }}
  {%- if enable_thinking is defined and not enable_thinking -%}
    {{ '<think>\n\n</think>\n\n' }}
  {%- endif -%}
{%- endif -%}
)";

}  // namespace

TokenizerIds tokenizer_ids(int vocab_size) {
  return {added_id(0, vocab_size), added_id(1, vocab_size), added_id(2, vocab_size)};
}

std::string random_tokenizer_json(int vocab_size) {
  std::vector<QwenAddedToken> added;
  for (int i = 0; i < kAddedCount; ++i)
    added.push_back({std::string(kAdded[i].content), added_id(i, vocab_size), kAdded[i].special});
  Bpe bpe = make_bpe(vocab_size);
  return qwen_tokenizer_json(added, Json(std::move(bpe.vocab)).dump(), Json(std::move(bpe.merges)).dump());
}

std::string random_tokenizer_config_json(int vocab_size) {
  Json decoder;
  Json::Array special;
  for (int i = 0; i < kAddedCount; ++i) {
    decoder[std::to_string(added_id(i, vocab_size))] = flags(kAdded[i]);
    if (kAdded[i].special && i > 0) special.emplace_back(kAdded[i].content);
  }
  Json json;
  json["add_bos_token"] = false;
  json["add_prefix_space"] = false;
  json["added_tokens_decoder"] = std::move(decoder);
  json["additional_special_tokens"] = std::move(special);
  json["bos_token"] = nullptr;
  json["chat_template"] = kTemplate;
  json["clean_up_tokenization_spaces"] = false;
  json["eos_token"] = "<|im_end|>";
  json["errors"] = "replace";
  json["model_max_length"] = 131072;
  json["pad_token"] = "<|endoftext|>";
  json["split_special_tokens"] = false;
  json["tokenizer_class"] = "Qwen2Tokenizer";
  json["unk_token"] = nullptr;
  return json.dump(2);
}

}  // namespace inkstone
