// Text: a template's string: UTF-8 that remembers, byte by byte, whether the template or a message wrote it.
// Immutable and shared. Characters are code points, as Python counts them.
#pragma once

#include <memory>
#include <string_view>

#include "text/jinja/budget.h"
#include "text/marked_text.h"

namespace inkstone::jinja {

class Text {
 public:
  explicit Text(MarkedText marked, bool markup = false);

  const MarkedText& marked() const { return marked_; }
  std::string_view view() const { return marked_.text; }
  size_t size() const { return marked_.text.size(); }
  size_t chars() const { return chars_; }
  bool ascii() const { return chars_ == size(); }
  // A string that `escape` or `safe` made: adding to it escapes what is added.
  bool markup() const { return markup_; }
  // The offset of character `index`, at most size().
  size_t offset_of(size_t index) const;

 private:
  MarkedText marked_;
  size_t chars_;
  bool markup_;
  Held held_;
};

using TextPtr = std::shared_ptr<const Text>;

TextPtr make_text(MarkedText marked, bool markup = false);
TextPtr make_text(std::string_view text, bool from_template);

// Appends from[begin, end) with its marks.
void append_slice(MarkedText& out, const MarkedText& from, size_t begin, size_t end);
void append(MarkedText& out, const MarkedText& from);
TextPtr slice(const Text& from, size_t begin, size_t end);
// Whether the byte at `offset` was written by the template.
bool from_template_at(const MarkedText& text, size_t offset);

// Walks a text code point by code point with its mark; invalid bytes come one by one as U+FFFD.
class CharReader {
 public:
  explicit CharReader(const MarkedText& text, size_t begin = 0);
  bool next();  // false at the end; then the accessors below are about the character just read
  char32_t code() const { return code_; }
  size_t begin() const { return begin_; }
  size_t end() const { return end_; }
  std::string_view bytes() const { return std::string_view(text_.text).substr(begin_, end_ - begin_); }
  bool from_template() const { return text_.runs[run_].from_template; }

 private:
  const MarkedText& text_;
  size_t begin_, end_;
  size_t run_ = 0;
  char32_t code_ = 0;
};

// The first `needle` in `text` at or after `from`, or npos; linear in both.
size_t find_text(std::string_view text, std::string_view needle, size_t from);

}  // namespace inkstone::jinja
