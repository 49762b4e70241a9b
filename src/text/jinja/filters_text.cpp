// Filters that make strings.
#include "text/jinja/filters.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/unicode.h"

namespace inkstone::jinja {
namespace {

using Args = const Arguments&;

Value filter_string(Interpreter&, const Value& value, Args) { return to_text(value); }
Value filter_upper(Interpreter&, const Value& value, Args) { return upper(*to_text(value)); }
Value filter_lower(Interpreter&, const Value& value, Args) { return lower(*to_text(value)); }
Value filter_capitalize(Interpreter&, const Value& value, Args) { return capitalize(*to_text(value)); }

Value filter_trim(Interpreter&, const Value& value, Args arguments) {
  const Bound bound("trim", arguments, {"chars"});
  const bool given = bound.has(0) && !bound[0].is_none();
  return strip(to_text(value), Side::both, given ? &bound.text(0) : nullptr);
}

// A word begins after white space, "-", or an opening bracket.
Value filter_title(Interpreter&, const Value& value, Args) {
  const TextPtr text = to_text(value);
  MarkedText out;
  bool begins = true;
  for (CharReader reader(text->marked()); reader.next();) {
    const char32_t code = reader.code();
    const bool separates = is_space(code) || code == '-' || code == '(' || code == '{' || code == '[' || code == '<';
    out.append(separates ? std::string(reader.bytes())
               : begins  ? to_upper(code)
                         : to_lower(code),
               reader.from_template());
    begins = separates;
  }
  charge(text->size() * 4);
  return make_text(std::move(out));
}

Value filter_replace(Interpreter&, const Value& value, Args arguments) {
  const Bound bound("replace", arguments, {"old", "new", "count"}, 2);
  const int64_t count = bound.has(2) && bound[2].is_none() ? -1 : bound.integer(2, -1);
  return replace(to_text(value), *to_text(bound[0]), *to_text(bound[1]), count);
}

Value filter_indent(Interpreter&, const Value& value, Args arguments) {
  const Bound bound("indent", arguments, {"width", "first", "blank"});
  const TextPtr text = to_text(value);
  const bool first = bound.boolean(1, false), blank = bound.boolean(2, false);
  TextPtr indention;
  if (bound.has(0) && bound[0].is_text()) {
    indention = bound[0].as_text();
  } else {
    const int64_t width = bound.integer(0, 4);
    indention = filled(*make_text(MarkedText()), width, ' ', Side::left);
  }
  MarkedText with_end;  // the reference's quirk: one more line break, so that a last empty line counts
  append(with_end, text->marked());
  with_end.append("\n", true);
  MarkedText out;
  if (first) append(out, indention->marked());
  bool is_first = true;
  for (const TextPtr& line : split_lines(*make_text(std::move(with_end)), false)) {
    if (!is_first) {
      out.append("\n", true);
      if (blank || line->size() > 0) append(out, indention->marked());
      charge(indention->size() + 32);
    }
    is_first = false;
    append(out, line->marked());
  }
  return make_text(std::move(out));
}

Value filter_center(Interpreter&, const Value& value, Args arguments) {
  const Bound bound("center", arguments, {"width"});
  return filled(*to_text(value), bound.integer(0, 80), ' ', Side::both);
}

Value filter_truncate(Interpreter&, const Value& value, Args arguments) {
  const Bound bound("truncate", arguments, {"length", "killwords", "end", "leeway"});
  const TextPtr text = to_text(value);
  const TextPtr end = bound.has(2) ? to_text(bound[2]) : make_text("...", true);
  const int64_t length = bound.integer(0, 255), leeway = bound.integer(3, 5);
  const auto ending = static_cast<int64_t>(end->chars());
  if (length < ending || leeway < 0) raise("truncate: expected length >= {} and leeway >= 0", ending);
  if (static_cast<int64_t>(text->chars()) - length <= leeway) return text;
  size_t stop = text->offset_of(static_cast<size_t>(length - ending));
  if (!bound.boolean(1, false)) {
    const size_t space = text->view().substr(0, stop).rfind(' ');
    if (space != std::string_view::npos) stop = space;
  }
  MarkedText out;
  append_slice(out, text->marked(), 0, stop);
  append(out, end->marked());
  return make_text(std::move(out));
}

Value filter_join(Interpreter& interpreter, const Value& value, Args arguments) {
  const Bound bound("join", arguments, {"d", "attribute"});
  std::vector<Value> items = walk(value);
  if (bound.has(1) && !bound[1].is_none())
    for (Value& item : items) item = attribute_path(interpreter, item, bound[1]);
  return make_text(join(items, bound.has(0) ? *to_text(bound[0]) : *make_text(MarkedText())));
}

Value filter_format(Interpreter&, const Value& value, Args arguments) {
  if (!arguments.named.empty() && !arguments.positional.empty())
    raise("format: positional and keyword arguments cannot be mixed");
  if (arguments.named.empty())
    return format_percent(*to_text(value), make_list(arguments.positional, List::Kind::tuple));
  std::vector<Dict::Item> items;
  for (const auto& [name, item] : arguments.named) items.emplace_back(text_value(name), item);
  return format_percent(*to_text(value), make_dict(std::move(items)));
}

Value filter_safe(Interpreter&, const Value& value, Args) {
  MarkedText text = to_text(value)->marked();
  return make_text(std::move(text), true);
}
Value filter_escape(Interpreter&, const Value& value, Args) { return escape(to_text(value)); }
Value filter_forceescape(Interpreter&, const Value& value, Args) {
  MarkedText text = to_text(value)->marked();
  return escape(make_text(std::move(text)));
}

Value filter_wordcount(Interpreter&, const Value& value, Args) {
  const TextPtr text = to_text(value);
  int64_t count = 0;
  bool inside = false;
  for (CharReader reader(text->marked()); reader.next();) {
    const bool word = is_word(reader.code());
    count += word && !inside;
    inside = word;
  }
  charge(text->size() * 4);
  return count;
}

Value filter_urlencode(Interpreter&, const Value& value, Args) {
  const TextPtr text = to_text(value);
  MarkedText out;
  charge(text->size() * 4);
  for (CharReader reader(text->marked()); reader.next();)
    for (const char byte : reader.bytes()) {
      const bool plain_byte = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                              (byte >= '0' && byte <= '9') ||
                              std::string_view("_.-~/").find(byte) != std::string_view::npos;
      out.append(plain_byte ? std::string(1, byte) : fmt::format("%{:02X}", static_cast<unsigned char>(byte)),
                 reader.from_template());
    }
  return make_text(std::move(out));
}

Value filter_tojson(Interpreter&, const Value& value, Args arguments) {
  const Bound bound("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = bound.boolean(0, false);
  style.sort_keys = bound.boolean(3, false);
  style.indented = bound.has(1) && !bound[1].is_none();
  if (style.indented && bound[1].is_text()) {
    append_str(style.indent, bound[1]);
  } else if (style.indented) {
    const int64_t width = bound.integer(1, 0);
    constexpr int64_t kMaxIndent = 1000;
    if (width > kMaxIndent) raise("tojson: indent is {}, at most {}", width, kMaxIndent);
    style.indent.append(std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' '), false);
  }
  style.item_separator.append(style.indented ? "," : ", ", false);
  style.key_separator.append(": ", false);
  if (bound.has(2) && !bound[2].is_none()) {
    const std::vector<Value> pair = walk(bound[2]);
    if (pair.size() != 2 || !pair[0].is_text() || !pair[1].is_text()) raise("tojson: separators are two strings");
    style.item_separator = pair[0].as_text()->marked();
    style.key_separator = pair[1].as_text()->marked();
  }
  MarkedText out;
  append_json(out, value, style);
  return make_text(std::move(out));
}

constexpr Native kFilters[] = {
    {"capitalize", filter_capitalize},
    {"center", filter_center},
    {"e", filter_escape},
    {"escape", filter_escape},
    {"forceescape", filter_forceescape},
    {"format", filter_format},
    {"indent", filter_indent},
    {"join", filter_join},
    {"lower", filter_lower},
    {"replace", filter_replace},
    {"safe", filter_safe},
    {"string", filter_string},
    {"title", filter_title},
    {"tojson", filter_tojson},
    {"trim", filter_trim},
    {"truncate", filter_truncate},
    {"upper", filter_upper},
    {"urlencode", filter_urlencode},
    {"wordcount", filter_wordcount},
};

}  // namespace

std::span<const Native> text_filters() { return kFilters; }

}  // namespace inkstone::jinja
