// Tokenizer: text <-> ids as a published tokenizer.json defines them (byte-level BPE, NFC, Split by regex, added
// tokens). Immutable after load; every function may be called from any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/marked_text.h"

namespace inkstone {

class Tokenizer {
 public:
  // Reads `folder`/tokenizer.json. Throws Error(not_found), Error(bad_file), or Error(unsupported) for a tokenizer of
  // another kind.
  static Tokenizer load(const std::filesystem::path& folder);
  static Tokenizer parse(std::string_view json, std::string_view origin);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // None of these adds a token of its own, whatever the file's post_processor would (an embedding's end token, say).
  // Added tokens are recognised anywhere, before normalisation, as the reference does. Bytes that are not UTF-8 become
  // U+FFFD first.
  std::vector<int32_t> encode(std::string_view text) const;
  // Added tokens are recognised only where all their characters came from the template.
  std::vector<int32_t> encode(const MarkedText& text) const;
  // No added token is recognised.
  std::vector<int32_t> encode_plain(std::string_view text) const;

  // Ids without a token vanish; invalid bytes become U+FFFD (Rust's from_utf8_lossy).
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  // The bytes of a token; empty for an id without one.
  std::string_view bytes_of(int32_t id) const;
  // By content for added tokens ("<|im_end|>"), by spelling for the others ("Ġthe"), as the file has them.
  std::optional<int32_t> id_of(std::string_view token) const;
  bool is_added(int32_t id) const;
  bool is_special(int32_t id) const;  // an added token with special = true: what skip_special leaves out
  int vocab_size() const;             // highest id + 1

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace inkstone
