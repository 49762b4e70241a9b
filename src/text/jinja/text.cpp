#include "text/jinja/text.h"

#include <algorithm>

#include "text/jinja/unicode.h"

namespace inkstone::jinja {
namespace {

bool continues(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

// Characters begin at the first byte and at every byte that is no continuation, so that any bytes have a length.
size_t count_chars(std::string_view text) {
  size_t count = 0;
  for (const char byte : text) count += !continues(byte);
  return count + (!text.empty() && continues(text.front()));
}

const MarkedText::Run* run_at(const MarkedText& text, size_t offset) {
  return &*std::upper_bound(text.runs.begin(), text.runs.end(), offset,
                            [](size_t at, const MarkedText::Run& run) { return at < run.end; });
}

}  // namespace

Text::Text(MarkedText marked, bool markup)
    : marked_(std::move(marked)),
      chars_(count_chars(marked_.text)),
      markup_(markup),
      held_(sizeof(Text) + marked_.text.capacity() + marked_.runs.capacity() * sizeof(MarkedText::Run)) {
  charge(size() + 32);
}

size_t Text::offset_of(size_t index) const {
  if (index >= chars_) return size();
  if (ascii()) return index;
  charge(size());
  size_t at = 0;
  for (size_t left = index; left > 0; --left) {
    ++at;
    while (at < size() && continues(view()[at])) ++at;
  }
  return at;
}

TextPtr make_text(MarkedText marked, bool markup) { return std::make_shared<const Text>(std::move(marked), markup); }

TextPtr make_text(std::string_view text, bool from_template) {
  MarkedText marked;
  marked.append(text, from_template);
  return make_text(std::move(marked));
}

void append_slice(MarkedText& out, const MarkedText& from, size_t begin, size_t end) {
  if (begin >= end) return;
  check_text_size(out.text.size() + (end - begin));
  const std::string_view text = from.text;
  for (const MarkedText::Run* run = run_at(from, begin); begin < end; ++run) {
    const size_t stop = std::min(end, run->end);
    out.append(text.substr(begin, stop - begin), run->from_template);
    begin = stop;
  }
}

void append(MarkedText& out, const MarkedText& from) { append_slice(out, from, 0, from.text.size()); }

TextPtr slice(const Text& from, size_t begin, size_t end) {
  MarkedText out;
  append_slice(out, from.marked(), begin, end);
  return make_text(std::move(out), from.markup());
}

bool from_template_at(const MarkedText& text, size_t offset) { return run_at(text, offset)->from_template; }

CharReader::CharReader(const MarkedText& text, size_t begin) : text_(text), begin_(begin), end_(begin) {
  if (begin < text.text.size()) run_ = static_cast<size_t>(run_at(text, begin) - text.runs.data());
}

bool CharReader::next() {
  begin_ = end_;
  if (begin_ >= text_.text.size()) return false;
  end_ += decode_utf8(std::string_view(text_.text).substr(begin_), code_);
  while (text_.runs[run_].end <= begin_) ++run_;
  return true;
}

namespace {

// Knuth, Morris, Pratt: a needle chosen by an enemy must not make a search quadratic.
size_t find_long(std::string_view text, std::string_view needle, size_t from) {
  std::vector<size_t> border(needle.size(), 0);
  for (size_t i = 1, k = 0; i < needle.size(); ++i) {
    while (k > 0 && needle[i] != needle[k]) k = border[k - 1];
    if (needle[i] == needle[k]) ++k;
    border[i] = k;
  }
  for (size_t i = from, k = 0; i < text.size(); ++i) {
    while (k > 0 && text[i] != needle[k]) k = border[k - 1];
    if (text[i] == needle[k]) ++k;
    if (k == needle.size()) return i + 1 - k;
  }
  return std::string_view::npos;
}

}  // namespace

size_t find_text(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size() || needle.size() > text.size() - from) return std::string_view::npos;
  constexpr size_t kShort = 16;
  const size_t at = needle.size() < kShort ? text.find(needle, from) : find_long(text, needle, from);
  charge((at == std::string_view::npos ? text.size() : at) - from + needle.size());
  return at;
}

}  // namespace inkstone::jinja
