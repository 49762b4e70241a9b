#include "text/added_tokens.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace inkstone {
namespace {

// Start of the character that ends at `end`.
size_t previous_character(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  if (begin > 0 && is_word_character(utf8_head(text.substr(previous_character(text, begin))).code_point)) return false;
  return end == text.size() || !is_word_character(utf8_head(text.substr(end)).code_point);
}

size_t strip_left(std::string_view text, size_t begin, size_t floor) {
  while (begin > floor) {
    const size_t before = previous_character(text, begin);
    if (!is_white_space(utf8_head(text.substr(before)).code_point)) break;
    begin = before;
  }
  return std::max(begin, floor);
}

size_t strip_right(std::string_view text, size_t end) {
  while (end < text.size()) {
    const Utf8Head head = utf8_head(text.substr(end));
    if (!is_white_space(head.code_point)) break;
    end += head.length;
  }
  return end;
}

}  // namespace

void AddedTokenTrie::insert(std::string_view content, int token) {
  CHECK(!content.empty());
  if (!begins_[static_cast<uint8_t>(content[0])]) first_bytes_ += content[0];
  begins_[static_cast<uint8_t>(content[0])] = true;
  uint32_t at = 0;
  for (const char byte : content) {
    uint32_t child = nodes_[at].child;
    while (child != 0 && nodes_[child].byte != byte) child = nodes_[child].sibling;
    if (child == 0) {
      child = static_cast<uint32_t>(nodes_.size());
      nodes_.push_back({byte, -1, 0, nodes_[at].child});
      nodes_[at].child = child;
    }
    at = child;
  }
  if (nodes_[at].token < 0) nodes_[at].token = token;
}

AddedTokenTrie::Match AddedTokenTrie::longest(std::string_view text) const {
  Match best;
  uint32_t at = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    at = nodes_[at].child;
    while (at != 0 && nodes_[at].byte != text[i]) at = nodes_[at].sibling;
    if (at == 0) break;
    if (nodes_[at].token >= 0) best = {i + 1, nodes_[at].token};
  }
  return best;
}

size_t AddedTokenTrie::candidate(std::string_view text, size_t from) const {
  if (from >= text.size() || empty()) return text.size();
  if (first_bytes_.size() == 1) {
    const void* hit = std::memchr(text.data() + from, first_bytes_[0], text.size() - from);
    return hit ? static_cast<size_t>(static_cast<const char*>(hit) - text.data()) : text.size();
  }
  while (from < text.size() && !begins_[static_cast<uint8_t>(text[from])]) ++from;
  return from;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, bool normalise) : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  by_content_.resize(tokens_.size());
  std::iota(by_content_.begin(), by_content_.end(), 0);
  std::sort(by_content_.begin(), by_content_.end(),
            [&](int a, int b) { return tokens_[a].content < tokens_[b].content; });
  std::string scratch;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    bytes_.push_back(bytes_of_spelling(token.content));
    if (!token.normalized)
      raw_.insert(token.content, static_cast<int>(i));
    else
      normalized_.insert(normalise ? nfc(token.content, scratch) : std::string_view(token.content),
                         static_cast<int>(i));
  }
}

int AddedTokens::index_of(int32_t id) const {
  if (tokens_.empty() || id < tokens_.front().id || id > tokens_.back().id) return -1;
  const auto at = std::lower_bound(tokens_.begin(), tokens_.end(), id,
                                   [](const AddedToken& token, int32_t wanted) { return token.id < wanted; });
  return at != tokens_.end() && at->id == id ? static_cast<int>(at - tokens_.begin()) : -1;
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const int index = index_of(id);
  return index < 0 ? nullptr : &tokens_[index];
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto at = std::lower_bound(by_content_.begin(), by_content_.end(), content,
                                   [&](int i, std::string_view wanted) { return tokens_[i].content < wanted; });
  return at != by_content_.end() && tokens_[*at].content == content ? &tokens_[*at] : nullptr;
}

std::string_view AddedTokens::bytes(int32_t id) const {
  const int index = index_of(id);
  return index < 0 ? std::string_view() : std::string_view(bytes_[index]);
}

std::vector<AddedTokens::Segment> AddedTokens::split(std::string_view text, const std::vector<MarkedText::Run>* runs,
                                                     bool normalized) const {
  const AddedTokenTrie& trie = normalized ? normalized_ : raw_;
  std::vector<Segment> segments;
  size_t done = 0;
  size_t run = 0;
  for (size_t at = trie.candidate(text, 0); at < text.size(); at = trie.candidate(text, at)) {
    size_t limit = text.size();
    if (runs) {
      while (run < runs->size() && (*runs)[run].end <= at) ++run;
      if (run == runs->size()) break;
      limit = std::min((*runs)[run].end, text.size());
      if (!(*runs)[run].from_template) {
        at = limit;
        continue;
      }
    }
    const AddedTokenTrie::Match match = trie.longest(text.substr(at, limit - at));
    if (match.token < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[match.token];
    size_t begin = at, end = at + match.length;
    at = end;  // the search goes on behind the match itself, whatever becomes of it
    if (token.single_word && !stands_alone(text, begin, end)) continue;
    if (token.lstrip) begin = strip_left(text, begin, done);
    if (token.rstrip) end = strip_right(text, end);
    if (done < begin) segments.push_back({done, begin, -1});
    segments.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) segments.push_back({done, text.size(), -1});
  return segments;
}

}  // namespace inkstone
