// tokenizer.json, read: what the file says, checked for kind and range but not yet put to work.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/vocabulary.h"

namespace inkstone {

struct TokenizerFile {
  struct MergePair {
    std::string_view left, right;
  };

  std::shared_ptr<const void> text;  // owns what the views below look at
  std::vector<Vocabulary::Entry> vocab;
  std::vector<MergePair> merges;  // by rank
  std::vector<AddedToken> added_tokens;
  bool nfc = false;
  bool ignore_merges = false;
  bool has_unknown_token = false;
  std::string split_expression;  // Oniguruma's syntax
};

// Throws Error(bad_file), or Error(unsupported) naming the field that asks for what this tokenizer does not do.
TokenizerFile parse_tokenizer_file(std::string_view json, std::string_view origin);

}  // namespace inkstone
