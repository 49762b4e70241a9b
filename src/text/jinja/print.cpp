// str(), repr() and json.dumps() with marks.
#include <algorithm>
#include <cmath>

#include "text/jinja/function.h"
#include "text/jinja/unicode.h"
#include "text/jinja/value.h"

namespace inkstone::jinja {
namespace {

constexpr bool kMessage = false;

void append_checked(MarkedText& out, std::string_view piece, bool from_template) {
  check_text_size(out.text.size() + piece.size());
  out.append(piece, from_template);
}

std::string double_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  return python_repr(value);
}

// Scalars; false for what holds values.
bool append_scalar(MarkedText& out, const Value& value, bool from_template) {
  if (value.is_none())
    out.append("None", from_template);
  else if (value.is_bool())
    out.append(value.truthy() ? "True" : "False", from_template);
  else if (value.is_int())
    out.append(std::to_string(value.as_int()), from_template);
  else if (value.is_double())
    out.append(double_text(value.as_double()), from_template);
  else if (value.is_function())
    out.append("<" + value.as_function()->name + ">", kMessage);
  else if (value.is_loop())
    out.append(fmt::format("<LoopContext {}/{}>", value.as_loop()->index + 1, value.as_loop()->items.size()), kMessage);
  else
    return false;
  return true;
}

std::string escaped(char32_t code, char32_t quote) {
  if (code == '\n') return "\\n";
  if (code == '\r') return "\\r";
  if (code == '\t') return "\\t";
  if (code == '\\' || code == quote) return std::string("\\") + static_cast<char>(code);
  const auto number = static_cast<uint32_t>(code);
  if (number < 0x100) return fmt::format("\\x{:02x}", number);
  return number < 0x10000 ? fmt::format("\\u{:04x}", number) : fmt::format("\\U{:08x}", number);
}

void append_quoted(MarkedText& out, const Text& text) {
  charge(text.size() * 2);
  const bool other_quote =
      text.view().find('\'') != std::string_view::npos && text.view().find('"') == std::string_view::npos;
  const char32_t quote = other_quote ? '"' : '\'';
  const char quote_byte = other_quote ? '"' : '\'';
  append_checked(out, {&quote_byte, 1}, kMessage);
  for (CharReader reader(text.marked()); reader.next();) {
    const char32_t code = reader.code();
    if (code == quote || code == '\\' || !is_printable(code))
      append_checked(out, escaped(code, quote), reader.from_template());
    else
      append_checked(out, reader.bytes(), reader.from_template());
  }
  append_checked(out, {&quote_byte, 1}, kMessage);
}

void repr(MarkedText& out, const Value& value, int depth);

void repr_items(MarkedText& out, const List& list, int depth) {
  bool first = true;
  for (const Value& item : list.items) {
    if (!first) append_checked(out, ", ", kMessage);
    first = false;
    repr(out, item, depth + 1);
  }
}

void repr_list(MarkedText& out, const List& list, int depth) {
  switch (list.kind) {
    case List::Kind::tuple:
    case List::Kind::group:
      append_checked(out, "(", kMessage);
      repr_items(out, list, depth);
      append_checked(out, list.items.size() == 1 ? ",)" : ")", kMessage);
      return;
    case List::Kind::generator: append_checked(out, "<generator object>", kMessage); return;
    case List::Kind::range:
    case List::Kind::view: {
      append_checked(out, list.kind == List::Kind::range ? "range([" : "dict_view([", kMessage);
      repr_items(out, list, depth);
      append_checked(out, "])", kMessage);
      return;
    }
    case List::Kind::list:
      append_checked(out, "[", kMessage);
      repr_items(out, list, depth);
      append_checked(out, "]", kMessage);
  }
}

void repr(MarkedText& out, const Value& value, int depth) {
  charge(32);
  if (depth > kMaxNesting) raise("values are nested more than {} levels deep", kMaxNesting);
  if (append_scalar(out, value, kMessage)) return;
  if (value.is_undefined()) return append_checked(out, "Undefined", kMessage);
  if (value.is_text()) return append_quoted(out, *value.as_text());
  if (value.is_list()) return repr_list(out, *value.as_list(), depth);
  bool first = true;
  const auto pair = [&](const Value& key, const Value& item) {
    if (!first) append_checked(out, ", ", kMessage);
    first = false;
    repr(out, key, depth + 1);
    append_checked(out, ": ", kMessage);
    repr(out, item, depth + 1);
  };
  if (value.is_dict()) {
    append_checked(out, "{", kMessage);
    for (const auto& [key, item] : value.as_dict()->items) pair(key, item);
    append_checked(out, "}", kMessage);
  } else {
    append_checked(out, "<Namespace {", kMessage);
    for (const auto& [key, item] : value.as_namespace()->values) pair(text_value(key), item);
    append_checked(out, "}>", kMessage);
  }
}

}  // namespace

void append_repr(MarkedText& out, const Value& value) { repr(out, value, 0); }

void append_str(MarkedText& out, const Value& value) {
  if (value.is_text()) {
    charge(value.as_text()->size());
    append(out, value.as_text()->marked());
  } else if (!value.is_undefined() && !append_scalar(out, value, true)) {
    append_repr(out, value);
  }
}

TextPtr to_text(const Value& value) {
  if (value.is_text()) return value.as_text();
  MarkedText out;
  append_str(out, value);
  return make_text(std::move(out));
}

std::string plain(const Value& value) { return to_text(value)->marked().text; }

namespace {

void json_text(MarkedText& out, const Text& text, bool ensure_ascii) {
  charge(text.size() * 2);
  append_checked(out, "\"", kMessage);
  size_t begin = 0;
  for (const MarkedText::Run& run : text.marked().runs) {
    const std::string_view piece = text.view().substr(begin, run.end - begin);
    begin = run.end;
    const std::string quoted = json_quote(piece);
    const std::string_view inside = std::string_view(quoted).substr(1, quoted.size() - 2);
    if (!ensure_ascii) {
      append_checked(out, inside, run.from_template);
      continue;
    }
    MarkedText marked;
    marked.append(inside, run.from_template);
    for (CharReader reader(marked); reader.next();) {
      const auto code = static_cast<uint32_t>(reader.code());
      if (code < 0x80)
        append_checked(out, reader.bytes(), run.from_template);
      else if (code < 0x10000)
        append_checked(out, fmt::format("\\u{:04x}", code), run.from_template);
      else
        append_checked(out,
                       fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((code - 0x10000) >> 10), 0xdc00 + (code & 0x3ff)),
                       run.from_template);
    }
  }
  append_checked(out, "\"", kMessage);
}

class JsonWriter {
 public:
  JsonWriter(MarkedText& out, const JsonStyle& style) : out_(out), style_(style) {}

  void write(const Value& value, int depth) {
    charge(32);
    if (value.is_none())
      append_checked(out_, "null", kMessage);
    else if (value.is_bool())
      append_checked(out_, value.truthy() ? "true" : "false", kMessage);
    else if (value.is_int())
      append_checked(out_, std::to_string(value.as_int()), kMessage);
    else if (value.is_double())
      append_checked(out_, python_repr(value.as_double()), kMessage);
    else if (value.is_text())
      json_text(out_, *value.as_text(), style_.ensure_ascii);
    else if (value.is_list() && value.as_list()->kind == List::Kind::generator)
      write_list(List(walk(value), List::Kind::list), depth);  // the reference refuses it, published templates do it
    else if (value.is_list() && value.as_list()->kind != List::Kind::range && value.as_list()->kind != List::Kind::view)
      write_list(*value.as_list(), depth);
    else if (value.is_dict())
      write_dict(*value.as_dict(), depth);
    else
      raise("Object of type {} is not JSON serializable", value.type_name());
  }

 private:
  void newline(int depth) {
    if (!style_.indented) return;
    append_checked(out_, "\n", kMessage);
    for (int i = 0; i < depth; ++i) append(out_, style_.indent);
  }

  void write_list(const List& list, int depth) {
    append_checked(out_, "[", kMessage);
    bool first = true;
    for (const Value& item : list.items) {
      if (!first) append(out_, style_.item_separator);
      first = false;
      newline(depth + 1);
      write(item, depth + 1);
    }
    if (!first) newline(depth);
    append_checked(out_, "]", kMessage);
  }

  void write_key(const Value& key) {
    if (key.is_text()) return json_text(out_, *key.as_text(), style_.ensure_ascii);
    if (!key.is_number() && !key.is_none())
      raise("keys must be str, int, float, bool or None, not {}", key.type_name());
    append_checked(out_, "\"", kMessage);
    write(key, 0);
    append_checked(out_, "\"", kMessage);
  }

  void write_dict(const Dict& dict, int depth) {
    std::vector<const Dict::Item*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (style_.sort_keys)
      std::stable_sort(items.begin(), items.end(), [](auto* a, auto* b) { return less(a->first, b->first); });
    append_checked(out_, "{", kMessage);
    bool first = true;
    for (const Dict::Item* item : items) {
      if (!first) append(out_, style_.item_separator);
      first = false;
      newline(depth + 1);
      write_key(item->first);
      append(out_, style_.key_separator);
      write(item->second, depth + 1);
    }
    if (!first) newline(depth);
    append_checked(out_, "}", kMessage);
  }

  MarkedText& out_;
  const JsonStyle& style_;
};

}  // namespace

void append_json(MarkedText& out, const Value& value, const JsonStyle& style) {
  JsonWriter(out, style).write(value, 0);
}

}  // namespace inkstone::jinja
