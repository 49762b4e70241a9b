#include "text/tokenizer_json.h"

#include <simdjson.h>

#include "base/error.h"
#include "text/pretokenizer.h"

namespace inkstone {
namespace {

namespace dom = simdjson::dom;

constexpr size_t kMaxFile = size_t{1} << 30;
constexpr size_t kMaxMerges = (1 << 24) - 2;
constexpr size_t kMaxContent = 4096;  // bytes of one added token

class Reader {
 public:
  explicit Reader(std::string_view origin) : origin_(origin) {}

  void read(const dom::element& root, TokenizerFile& file) const {
    const dom::object object = object_of(root, "the document");
    read_model(object_of(field(object, "model", "model"), "model"), file);
    if (const auto tokens = optional(object, "added_tokens")) read_added_tokens(*tokens, file);
    if (const auto normalizer = optional(object, "normalizer")) read_normalizer(*normalizer, "normalizer", file, 0);
    read_pre_tokenizer(field(object, "pre_tokenizer", "pre_tokenizer"), file);
    read_decoder(field(object, "decoder", "decoder"));
    if (const auto processor = optional(object, "post_processor")) read_post_processor(*processor, 0);
  }

 private:
  template <class... Args>
  [[noreturn]] void bad(fmt::format_string<Args...> format, Args&&... args) const {
    fail(Errc::bad_file, "{}: {}", origin_, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  [[noreturn]] void unsupported(fmt::format_string<Args...> format, Args&&... args) const {
    fail(Errc::unsupported, "{}: {}", origin_, fmt::format(format, std::forward<Args>(args)...));
  }

  // A member that is there and not null.
  static std::optional<dom::element> optional(const dom::object& object, std::string_view key) {
    dom::element value;
    if (object.at_key(key).get(value) != simdjson::SUCCESS || value.is_null()) return std::nullopt;
    return value;
  }
  dom::element field(const dom::object& object, std::string_view key, std::string_view name) const {
    const auto value = optional(object, key);
    if (!value) bad("{}: missing", name);
    return *value;
  }
  dom::object object_of(const dom::element& value, std::string_view name) const {
    dom::object object;
    if (value.get(object) != simdjson::SUCCESS) bad("{}: not an object", name);
    return object;
  }
  dom::array array_of(const dom::element& value, std::string_view name) const {
    dom::array array;
    if (value.get(array) != simdjson::SUCCESS) bad("{}: not an array", name);
    return array;
  }
  std::string_view string_of(const dom::element& value, std::string_view name) const {
    std::string_view text;
    if (value.get(text) != simdjson::SUCCESS) bad("{}: not a string", name);
    return text;
  }
  bool bool_of(const dom::object& object, std::string_view key, std::string_view name, bool otherwise) const {
    const auto value = optional(object, key);
    if (!value) return otherwise;
    bool result = false;
    if (value->get(result) != simdjson::SUCCESS) bad("{}.{}: not a bool", name, key);
    return result;
  }
  std::string_view type_of(const dom::object& object, std::string_view name) const {
    return string_of(field(object, "type", fmt::format("{}.type", name)), fmt::format("{}.type", name));
  }
  int32_t id_of(const dom::element& value, std::string_view name) const {
    int64_t id = 0;
    if (value.get(id) != simdjson::SUCCESS || id < 0 || id > kMaxTokenId)
      bad("{}: id is not an integer from 0 to {}", name, kMaxTokenId);
    return static_cast<int32_t>(id);
  }

  void read_model(const dom::object& model, TokenizerFile& file) const {
    if (const auto type = optional(model, "type"); type && string_of(*type, "model.type") != "BPE")
      unsupported("model.type: \"{}\", expected \"BPE\"", string_of(*type, "model.type"));
    if (const auto dropout = optional(model, "dropout")) {
      double rate = 1;
      if (dropout->get(rate) != simdjson::SUCCESS || rate != 0) unsupported("model.dropout: expected null");
    }
    for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (const auto affix = optional(model, key); affix && !string_of(*affix, key).empty())
        unsupported("model.{}: \"{}\", expected none", key, string_of(*affix, key));
    if (bool_of(model, "byte_fallback", "model", false)) unsupported("model.byte_fallback: true, expected false");
    file.ignore_merges = bool_of(model, "ignore_merges", "model", false);
    file.has_unknown_token = optional(model, "unk_token").has_value();
    read_vocab(object_of(field(model, "vocab", "model.vocab"), "model.vocab"), file);
    read_merges(array_of(field(model, "merges", "model.merges"), "model.merges"), file);
  }

  void read_vocab(const dom::object& vocab, TokenizerFile& file) const {
    file.vocab.reserve(vocab.size());
    for (const auto& [spelling, id] : vocab) file.vocab.push_back({spelling, id_of(id, "model.vocab")});
    if (file.vocab.empty()) bad("model.vocab: empty");
  }

  void read_merges(const dom::array& merges, TokenizerFile& file) const {
    file.merges.reserve(merges.size());
    for (const dom::element& merge : merges) {
      TokenizerFile::MergePair pair;
      std::string_view both;
      dom::array parts;
      if (merge.get(both) == simdjson::SUCCESS) {
        const size_t blank = both.find(' ');
        if (blank == std::string_view::npos || both.find(' ', blank + 1) != std::string_view::npos)
          bad("model.merges[{}]: \"{}\", expected two tokens and one blank", file.merges.size(), both.substr(0, 80));
        pair = {both.substr(0, blank), both.substr(blank + 1)};
      } else if (merge.get(parts) == simdjson::SUCCESS && parts.size() == 2) {
        pair = {string_of(parts.at(0).value_unsafe(), "model.merges"),
                string_of(parts.at(1).value_unsafe(), "model.merges")};
      } else {
        bad("model.merges[{}]: neither a string nor two strings", file.merges.size());
      }
      if (file.merges.size() >= kMaxMerges) bad("model.merges: more than {}", kMaxMerges);
      file.merges.push_back(pair);
    }
  }

  void read_added_tokens(const dom::element& value, TokenizerFile& file) const {
    for (const dom::element& item : array_of(value, "added_tokens")) {
      const std::string name = fmt::format("added_tokens[{}]", file.added_tokens.size());
      const dom::object object = object_of(item, name);
      AddedToken token;
      token.id = id_of(field(object, "id", name + ".id"), name + ".id");
      token.content = string_of(field(object, "content", name + ".content"), name + ".content");
      if (token.content.empty() || token.content.size() > kMaxContent)
        bad("{}.content: {} bytes, expected 1 to {}", name, token.content.size(), kMaxContent);
      token.special = bool_of(object, "special", name, false);
      token.lstrip = bool_of(object, "lstrip", name, false);
      token.rstrip = bool_of(object, "rstrip", name, false);
      token.single_word = bool_of(object, "single_word", name, false);
      token.normalized = bool_of(object, "normalized", name, !token.special);
      file.added_tokens.push_back(std::move(token));
    }
  }

  // Parts nest in Sequences; nobody nests them deeply.
  void check_depth(std::string_view name, int depth) const {
    if (depth > 8) bad("{}: Sequences nested more than 8 deep", name);
  }

  void read_normalizer(const dom::element& value, std::string_view name, TokenizerFile& file, int depth) const {
    check_depth(name, depth);
    const dom::object object = object_of(value, name);
    const std::string_view type = type_of(object, name);
    if (type == "NFC") {
      file.nfc = true;
    } else if (type == "Sequence") {
      for (const dom::element& part : array_of(field(object, "normalizers", "normalizer.normalizers"), name))
        read_normalizer(part, name, file, depth + 1);
    } else {
      unsupported("{}.type: \"{}\", expected NFC, a Sequence of it, or null", name, type);
    }
  }

  void read_pre_tokenizer(const dom::element& value, TokenizerFile& file) const {
    const dom::object object = object_of(value, "pre_tokenizer");
    std::vector<dom::object> parts;
    if (type_of(object, "pre_tokenizer") == "Sequence") {
      for (const dom::element& part :
           array_of(field(object, "pretokenizers", "pre_tokenizer.pretokenizers"), "pre_tokenizer.pretokenizers"))
        parts.push_back(object_of(part, "pre_tokenizer.pretokenizers"));
    } else {
      parts.push_back(object);
    }
    if (parts.empty() || parts.size() > 2 || type_of(parts.back(), "pre_tokenizer") != "ByteLevel" ||
        (parts.size() == 2 && type_of(parts.front(), "pre_tokenizer") != "Split"))
      unsupported("pre_tokenizer: expected ByteLevel, or a Sequence of Split and ByteLevel");
    const dom::object& byte_level = parts.back();
    if (bool_of(byte_level, "add_prefix_space", "pre_tokenizer", true))
      unsupported("pre_tokenizer.add_prefix_space: true, expected false");
    const bool use_regex = bool_of(byte_level, "use_regex", "pre_tokenizer", true);
    if (parts.size() == 2) {
      if (use_regex) unsupported("pre_tokenizer.use_regex: true after a Split, expected false");
      read_split(parts.front(), file);
    } else {
      if (!use_regex) unsupported("pre_tokenizer.use_regex: false without a Split, expected true");
      file.split_expression = Pretokenizer::gpt2_pattern();
    }
  }

  // `invert` only swaps what counts as match and as gap: with Isolated both are pieces.
  void read_split(const dom::object& split, TokenizerFile& file) const {
    const std::string_view behavior =
        string_of(field(split, "behavior", "pre_tokenizer.behavior"), "pre_tokenizer.behavior");
    if (behavior != "Isolated") unsupported("pre_tokenizer.behavior: \"{}\", expected \"Isolated\"", behavior);
    bool_of(split, "invert", "pre_tokenizer", false);
    const dom::object pattern = object_of(field(split, "pattern", "pre_tokenizer.pattern"), "pre_tokenizer.pattern");
    if (const auto regex = optional(pattern, "Regex"))
      file.split_expression = string_of(*regex, "pre_tokenizer.pattern.Regex");
    else if (const auto literal = optional(pattern, "String"))
      file.split_expression = Pretokenizer::literal(string_of(*literal, "pre_tokenizer.pattern.String"));
    else
      unsupported("pre_tokenizer.pattern: expected Regex or String");
  }

  void read_decoder(const dom::element& value) const {
    const std::string_view type = type_of(object_of(value, "decoder"), "decoder");
    if (type != "ByteLevel") unsupported("decoder.type: \"{}\", expected \"ByteLevel\"", type);
  }

  // ByteLevel only moves offsets; a TemplateProcessing adds tokens around a whole input when asked to, and encode()
  // never asks: who wants them (an embedding's end token) appends them.
  void read_post_processor(const dom::element& value, int depth) const {
    check_depth("post_processor", depth);
    const dom::object object = object_of(value, "post_processor");
    const std::string_view type = type_of(object, "post_processor");
    if (type == "ByteLevel" || type == "TemplateProcessing") return;
    if (type != "Sequence")
      unsupported("post_processor.type: \"{}\", expected ByteLevel, TemplateProcessing or null", type);
    for (const dom::element& part :
         array_of(field(object, "processors", "post_processor.processors"), "post_processor"))
      read_post_processor(part, depth + 1);
  }

  std::string_view origin_;
};

}  // namespace

TokenizerFile parse_tokenizer_file(std::string_view json, std::string_view origin) {
  if (json.size() > kMaxFile) fail(Errc::bad_file, "{}: {} bytes, expected at most 1 GB", origin, json.size());
  auto parser = std::make_shared<dom::parser>();
  const simdjson::padded_string padded(json);
  dom::element root;
  if (const auto error = parser->parse(padded).get(root); error != simdjson::SUCCESS)
    fail(Errc::bad_file, "{}: not valid JSON: {}", origin, simdjson::error_message(error));
  TokenizerFile file;
  Reader(origin).read(root, file);
  file.text = std::move(parser);  // the strings lie in the parser's buffer
  return file;
}

}  // namespace inkstone
