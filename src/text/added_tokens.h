// Added tokens: strings of a tokenizer.json that become one id wherever they stand, before anything else looks at the
// text. The leftmost match counts, the longest of those. Immutable after build; used from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/marked_text.h"

namespace inkstone {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;
  bool lstrip = false;  // takes the white space before it along
  bool rstrip = false;
  bool single_word = false;  // counts only between characters that form no words
  bool normalized = false;   // sought in the normalised text
};

// Finds the longest of some strings at a place: a trie of siblings.
class AddedTokenTrie {
 public:
  void insert(std::string_view content, int token);
  bool empty() const { return nodes_.size() == 1; }

  struct Match {
    size_t length = 0;
    int token = -1;  // as inserted; -1: none
  };
  Match longest(std::string_view text) const;

  // The first place at or after `from` where some string could begin; text.size() if none.
  size_t candidate(std::string_view text, size_t from) const;

 private:
  struct Node {
    char byte = 0;
    int token = -1;
    uint32_t child = 0;    // 0: none
    uint32_t sibling = 0;  // 0: none
  };
  std::vector<Node> nodes_ = {Node{}};
  bool begins_[256] = {};
  std::string first_bytes_;
};

class AddedTokens {
 public:
  AddedTokens() = default;
  // Tokens with distinct ids and contents. `normalise`: the tokenizer normalises to NFC.
  AddedTokens(std::vector<AddedToken> tokens, bool normalise);

  // By id; nullptr if this id is no added token.
  const AddedToken* find(int32_t id) const;
  const AddedToken* find(std::string_view content) const;
  // What the decoder makes of an added token: its content read as spelled bytes, as the reference does.
  std::string_view bytes(int32_t id) const;
  int32_t highest_id() const { return tokens_.empty() ? -1 : tokens_.back().id; }
  bool any_normalized() const { return !normalized_.empty(); }

  // A stretch of text without added token, or one token.
  struct Segment {
    size_t begin = 0, end = 0;
    int32_t id = -1;  // -1: text
  };
  // Splits `text` (valid UTF-8) at the tokens that are sought before (after) normalisation. With `runs`, a token counts
  // only inside one run that came from the template.
  std::vector<Segment> split(std::string_view text, const std::vector<MarkedText::Run>* runs, bool normalized) const;

 private:
  int index_of(int32_t id) const;

  std::vector<AddedToken> tokens_;  // by id
  std::vector<std::string> bytes_;
  std::vector<int> by_content_;  // indices in the order of contents
  AddedTokenTrie raw_;
  AddedTokenTrie normalized_;
};

}  // namespace inkstone
