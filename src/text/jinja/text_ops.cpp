#include "text/jinja/text_ops.h"

#include <algorithm>

#include "text/jinja/function.h"
#include "text/jinja/unicode.h"

namespace inkstone::jinja {
namespace {

std::vector<char32_t> codes_of(const Text& text) {
  std::vector<char32_t> codes;
  for (CharReader reader(text.marked()); reader.next();) codes.push_back(reader.code());
  return codes;
}

template <class Map>
TextPtr mapped(const Text& text, Map map) {
  charge(text.size() * 4);
  MarkedText out;
  out.text.reserve(text.size());
  for (CharReader reader(text.marked()); reader.next();) out.append(map(reader), reader.from_template());
  return make_text(std::move(out), text.markup());
}

}  // namespace

TextPtr strip(const TextPtr& text, Side side, const Text* chars) {
  const std::string_view view = text->view();
  size_t begin = 0, end = view.size();
  if (!chars) {
    if (side != Side::left) end = trim_space_end(view);
    if (side != Side::right) begin = std::min(end, skip_space(view, 0));
  } else {
    const std::vector<char32_t> codes = codes_of(*chars);
    const auto stripped = [&](char32_t code) {
      charge(codes.size());
      return std::find(codes.begin(), codes.end(), code) != codes.end();
    };
    char32_t code;
    while (side != Side::right && begin < end) {
      const size_t length = decode_utf8(view.substr(begin, end - begin), code);
      if (!stripped(code)) break;
      begin += length;
    }
    while (side != Side::left && begin < end) {
      size_t last = end - 1;
      while (last > begin && end - last < 4 && (static_cast<unsigned char>(view[last]) & 0xc0) == 0x80) --last;
      if (decode_utf8(view.substr(last, end - last), code) != end - last || !stripped(code)) break;
      end = last;
    }
  }
  return begin == 0 && end == view.size() ? text : slice(*text, begin, end);
}

TextPtr replace(const TextPtr& text, const Text& old, const Text& with, int64_t count) {
  const std::string_view view = text->view();
  MarkedText out;
  size_t done = 0;
  if (old.size() == 0) {  // before every character, and at the end
    CharReader reader(text->marked());
    for (; count != 0; --count) {
      append(out, with.marked());
      if (!reader.next()) break;
      append_slice(out, text->marked(), reader.begin(), reader.end());
      done = reader.end();
      charge(32);
    }
  } else {
    size_t at = count == 0 ? std::string_view::npos : find_text(view, old.view(), 0);
    if (at == std::string_view::npos) return text;
    for (; at != std::string_view::npos && count != 0; --count) {
      append_slice(out, text->marked(), done, at);
      append(out, with.marked());
      charge(with.size() + 16);
      done = at + old.size();
      at = find_text(view, old.view(), done);
    }
  }
  append_slice(out, text->marked(), done, view.size());
  return make_text(std::move(out), text->markup());
}

TextPtr upper(const Text& text) {
  return mapped(text, [](const CharReader& reader) { return to_upper(reader.code()); });
}

TextPtr lower(const Text& text) {
  return mapped(text, [](const CharReader& reader) { return to_lower(reader.code()); });
}

TextPtr capitalize(const Text& text) {
  return mapped(text, [](const CharReader& reader) {
    return reader.begin() == 0 ? to_title(reader.code()) : to_lower(reader.code());
  });
}

std::vector<TextPtr> split_lines(const Text& text, bool keep_ends) {
  std::vector<TextPtr> lines;
  size_t begin = 0;
  CharReader reader(text.marked());
  while (reader.next()) {
    if (!is_line_break(reader.code())) continue;
    const size_t end = reader.begin();
    size_t next = reader.end();
    if (reader.code() == '\r' && next < text.size() && text.view()[next] == '\n') {
      reader.next();
      next = reader.end();
    }
    lines.push_back(slice(text, begin, keep_ends ? next : end));
    begin = next;
  }
  if (begin < text.size()) lines.push_back(slice(text, begin, text.size()));
  charge(text.size());
  return lines;
}

MarkedText join(const std::vector<Value>& items, const Text& separator) {
  MarkedText out;
  bool first = true;
  for (const Value& item : items) {
    if (!first) append(out, separator.marked());
    first = false;
    charge(separator.size() + 32);
    append_str(out, item);
  }
  return out;
}

bool from_template_first(const Text& text) { return text.size() == 0 || from_template_at(text.marked(), 0); }

TextPtr filled(const Text& text, int64_t width, char32_t fill, Side text_side) {
  const auto chars = static_cast<int64_t>(text.chars());
  if (width <= chars) return slice(text, 0, text.size());
  const int64_t missing = width - chars;
  check_text_size(static_cast<size_t>(missing) > (size_t{1} << 40) ? size_t{1} << 40
                                                                   : static_cast<size_t>(missing) * 4);
  // str.center puts the odd one left where the width is odd.
  int64_t left = text_side == Side::left ? 0 : missing;
  if (text_side == Side::both) left = missing / 2 + (missing & width & 1);
  std::string one;
  append_utf8(one, fill);
  const auto padding = [&](int64_t count) {
    std::string out;
    for (int64_t i = 0; i < count; ++i) out += one;
    charge(out.size());
    return out;
  };
  MarkedText out;
  out.append(padding(left), true);
  append(out, text.marked());
  out.append(padding(missing - left), true);
  return make_text(std::move(out), text.markup());
}

TextPtr escape(const TextPtr& text) {
  if (text->markup()) return text;
  charge(text->size() * 2);
  MarkedText out;
  for (CharReader reader(text->marked()); reader.next();) {
    std::string_view piece = reader.bytes();
    switch (reader.code()) {
      case '&': piece = "&amp;"; break;
      case '<': piece = "&lt;"; break;
      case '>': piece = "&gt;"; break;
      case '"': piece = "&#34;"; break;
      case '\'': piece = "&#39;"; break;
      default: break;
    }
    out.append(piece, reader.from_template());
  }
  return make_text(std::move(out), true);
}

}  // namespace inkstone::jinja
