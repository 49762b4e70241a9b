// The methods of strings, dicts and lists that templates may call.
#include <algorithm>

#include "text/jinja/interpreter.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/unicode.h"

namespace inkstone::jinja {
namespace {

using Args = const Arguments&;
constexpr size_t kNone = std::string_view::npos;

// Optional characters to strip: absent or None means white space.
Value stripped(const char* name, const Value& self, Args arguments, Side side) {
  const Bound bound(name, arguments, {"chars"});
  const bool given = bound.has(0) && !bound[0].is_none();
  return strip(self.as_text(), side, given ? &bound.text(0) : nullptr);
}
Value text_strip(Interpreter&, const Value& self, Args a) { return stripped("strip", self, a, Side::both); }
Value text_lstrip(Interpreter&, const Value& self, Args a) { return stripped("lstrip", self, a, Side::left); }
Value text_rstrip(Interpreter&, const Value& self, Args a) { return stripped("rstrip", self, a, Side::right); }

Value text_upper(Interpreter&, const Value& self, Args) { return upper(*self.as_text()); }
Value text_lower(Interpreter&, const Value& self, Args) { return lower(*self.as_text()); }
Value text_capitalize(Interpreter&, const Value& self, Args) { return capitalize(*self.as_text()); }

Value text_title(Interpreter&, const Value& self, Args) {
  MarkedText out;
  bool inside = false;
  for (CharReader reader(self.as_text()->marked()); reader.next();) {
    out.append(inside ? to_lower(reader.code()) : to_title(reader.code()), reader.from_template());
    inside = is_upper(reader.code()) || is_lower(reader.code());
  }
  charge(out.text.size() * 4);
  return make_text(std::move(out));
}

Value text_swapcase(Interpreter&, const Value& self, Args) {
  MarkedText out;
  for (CharReader reader(self.as_text()->marked()); reader.next();)
    out.append(is_upper(reader.code()) ? to_lower(reader.code()) : to_upper(reader.code()), reader.from_template());
  charge(out.text.size() * 4);
  return make_text(std::move(out));
}

Value text_replace(Interpreter&, const Value& self, Args arguments) {
  const Bound bound("replace", arguments, {"old", "new", "count"}, 2);
  return replace(self.as_text(), bound.text(0), bound.text(1), bound.integer(2, -1));
}

std::vector<Value> split_space(const Text& text, int64_t most) {
  std::vector<Value> parts;
  const std::string_view view = text.view();
  size_t at = skip_space(view, 0);
  while (at < view.size()) {
    if (most-- == 0) {
      parts.push_back(slice(text, at, view.size()));
      break;
    }
    size_t end = at;
    char32_t code;
    while (end < view.size()) {
      const size_t length = decode_utf8(view.substr(end), code);
      if (is_space(code)) break;
      end += length;
    }
    parts.push_back(slice(text, at, end));
    at = skip_space(view, end);
  }
  return parts;
}

std::vector<Value> rsplit_space(const Text& text, int64_t most) {
  std::vector<Value> parts;
  const std::string_view view = text.view();
  size_t end = trim_space_end(view);
  while (end > 0) {
    if (most-- == 0) {
      parts.push_back(slice(text, 0, end));
      break;
    }
    size_t begin = end;
    while (begin > 0 && trim_space_end(view.substr(0, begin)) == begin) --begin;
    parts.push_back(slice(text, begin, end));
    end = trim_space_end(view.substr(0, begin));
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

Value text_split(Interpreter&, const Value& self, Args arguments) {
  const Bound bound("split", arguments, {"sep", "maxsplit"});
  const Text& text = *self.as_text();
  int64_t most = bound.integer(1, -1);
  charge(text.size());
  if (!bound.has(0) || bound[0].is_none()) return make_list(split_space(text, most));
  const Text& separator = bound.text(0);
  if (separator.size() == 0) raise("empty separator");
  std::vector<Value> parts;
  size_t begin = 0;
  for (; most != 0; --most) {
    const size_t at = find_text(text.view(), separator.view(), begin);
    if (at == kNone) break;
    parts.push_back(slice(text, begin, at));
    begin = at + separator.size();
  }
  parts.push_back(slice(text, begin, text.size()));
  return make_list(std::move(parts));
}

// The last `needle` in view[begin, end).
size_t find_last(std::string_view view, std::string_view needle, size_t begin, size_t end) {
  charge((end - begin) * (1 + needle.size() / 8));
  const size_t at = view.substr(begin, end - begin).rfind(needle);
  return at == kNone ? kNone : at + begin;
}

Value text_rsplit(Interpreter&, const Value& self, Args arguments) {
  const Bound bound("rsplit", arguments, {"sep", "maxsplit"});
  const Text& text = *self.as_text();
  int64_t most = bound.integer(1, -1);
  charge(text.size());
  if (!bound.has(0) || bound[0].is_none()) return make_list(rsplit_space(text, most));
  const Text& separator = bound.text(0);
  if (separator.size() == 0) raise("empty separator");
  std::vector<Value> parts;
  size_t end = text.size();
  for (; most != 0; --most) {
    const size_t at = text.view().substr(0, end).rfind(separator.view());
    if (at == kNone) break;
    charge((end - at) * (1 + separator.size() / 8));
    parts.push_back(slice(text, at + separator.size(), end));
    end = at;
  }
  parts.push_back(slice(text, 0, end));
  std::reverse(parts.begin(), parts.end());
  return make_list(std::move(parts));
}

Value text_splitlines(Interpreter&, const Value& self, Args arguments) {
  const Bound bound("splitlines", arguments, {"keepends"});
  std::vector<Value> lines;
  for (TextPtr& line : split_lines(*self.as_text(), bound.boolean(0, false))) lines.emplace_back(std::move(line));
  return make_list(std::move(lines));
}

Value partitioned(const char* name, const Value& self, Args arguments, bool last) {
  const Bound bound(name, arguments, {"sep"}, 1);
  const Text &text = *self.as_text(), &separator = bound.text(0);
  if (separator.size() == 0) raise("empty separator");
  const size_t at =
      last ? find_last(text.view(), separator.view(), 0, text.size()) : find_text(text.view(), separator.view(), 0);
  const TextPtr empty = make_text(MarkedText());
  std::vector<Value> parts;
  if (at == kNone)
    parts = last ? std::vector<Value>{empty, empty, self} : std::vector<Value>{self, empty, empty};
  else
    parts = {slice(text, 0, at), slice(text, at, at + separator.size()),
             slice(text, at + separator.size(), text.size())};
  return make_list(std::move(parts), List::Kind::tuple);
}
Value text_partition(Interpreter&, const Value& self, Args a) { return partitioned("partition", self, a, false); }
Value text_rpartition(Interpreter&, const Value& self, Args a) { return partitioned("rpartition", self, a, true); }

Value text_join(Interpreter&, const Value& self, Args arguments) {
  const Bound bound("join", arguments, {"iterable"}, 1);
  bound[0].check_defined();
  const std::vector<Value> items = walk(bound[0]);
  for (size_t i = 0; i < items.size(); ++i)
    if (!items[i].is_text()) raise("sequence item {}: expected str instance, {} found", i, items[i].type_name());
  return make_text(join(items, *self.as_text()));
}

// The part of the text that start and stop arguments name, in bytes; false if start lies behind the end.
struct Range {
  size_t begin, end;
  bool valid;
};
Range range_of(const Text& text, const Bound& bound, size_t first) {
  const auto size = static_cast<int64_t>(text.chars());
  const auto clip = [&](size_t index, int64_t otherwise) {
    if (!bound.has(index) || bound[index].is_none()) return otherwise;
    const int64_t at = bound.integer(index, 0);
    return at < 0 ? std::max<int64_t>(at + size, 0) : at;
  };
  const int64_t begin = clip(first, 0), end = std::min(clip(first + 1, size), size);
  if (begin > end) return {0, 0, false};
  return {text.offset_of(static_cast<size_t>(begin)), text.offset_of(static_cast<size_t>(end)), true};
}

int64_t index_of(const Text& text, size_t byte) {
  if (byte == kNone) return -1;
  if (text.ascii()) return static_cast<int64_t>(byte);
  return static_cast<int64_t>(slice(text, 0, byte)->chars());
}

int64_t found(const char* name, const Value& self, Args arguments, bool last) {
  const Bound bound(name, arguments, {"sub", "start", "end"}, 1);
  const Text& text = *self.as_text();
  const Range range = range_of(text, bound, 1);
  if (!range.valid) return -1;
  const std::string_view needle = bound.text(0).view();
  if (last) return index_of(text, find_last(text.view(), needle, range.begin, range.end));
  return index_of(text, find_text(text.view().substr(0, range.end), needle, range.begin));
}

Value text_find(Interpreter&, const Value& self, Args a) { return found("find", self, a, false); }
Value text_rfind(Interpreter&, const Value& self, Args a) { return found("rfind", self, a, true); }
Value text_index(Interpreter&, const Value& self, Args a) {
  const int64_t at = found("index", self, a, false);
  if (at < 0) raise("substring not found");
  return at;
}
Value text_rindex(Interpreter&, const Value& self, Args a) {
  const int64_t at = found("rindex", self, a, true);
  if (at < 0) raise("substring not found");
  return at;
}

Value text_count(Interpreter&, const Value& self, Args arguments) {
  const Bound bound("count", arguments, {"sub", "start", "end"}, 1);
  const Text& text = *self.as_text();
  const Range range = range_of(text, bound, 1);
  if (!range.valid) return int64_t{0};
  const Text& needle = bound.text(0);
  const std::string_view part = text.view().substr(range.begin, range.end - range.begin);
  if (needle.size() == 0) return static_cast<int64_t>(make_text(part, true)->chars() + 1);
  int64_t count = 0;
  for (size_t at = 0; (at = find_text(part, needle.view(), at)) != kNone; at += needle.size()) ++count;
  return count;
}

bool matches(const Text& text, const Range& range, const Value& affix, bool at_end) {
  if (!affix.is_text()) raise("startswith/endswith: the argument must be str or a tuple of str");
  if (!range.valid) return false;
  const std::string_view part = text.view().substr(range.begin, range.end - range.begin);
  return at_end ? part.ends_with(affix.view()) : part.starts_with(affix.view());
}

Value affixed(const char* name, const Value& self, Args arguments, bool at_end) {
  const Bound bound(name, arguments, {"prefix", "start", "end"}, 1);
  const Text& text = *self.as_text();
  const Range range = range_of(text, bound, 1);
  bound[0].check_defined();
  if (!bound[0].is_list() || !bound[0].as_list()->is_tuple()) return matches(text, range, bound[0], at_end);
  for (const Value& item : bound[0].as_list()->items)
    if (matches(text, range, item, at_end)) return true;
  return false;
}
Value text_startswith(Interpreter&, const Value& self, Args a) { return affixed("startswith", self, a, false); }
Value text_endswith(Interpreter&, const Value& self, Args a) { return affixed("endswith", self, a, true); }

Value text_removeprefix(Interpreter&, const Value& self, Args arguments) {
  const Bound bound("removeprefix", arguments, {"prefix"}, 1);
  const Text &text = *self.as_text(), &prefix = bound.text(0);
  return text.view().starts_with(prefix.view()) ? Value(slice(text, prefix.size(), text.size())) : self;
}
Value text_removesuffix(Interpreter&, const Value& self, Args arguments) {
  const Bound bound("removesuffix", arguments, {"suffix"}, 1);
  const Text &text = *self.as_text(), &suffix = bound.text(0);
  return text.view().ends_with(suffix.view()) ? Value(slice(text, 0, text.size() - suffix.size())) : self;
}

Value padded(const char* name, const Value& self, Args arguments, Side side) {
  const Bound bound(name, arguments, {"width", "fillchar"}, 1);
  char32_t fill = ' ';
  if (bound.has(1)) {
    if (bound.text(1).chars() != 1) raise("the fill character must be exactly one character long");
    decode_utf8(bound.text(1).view(), fill);
  }
  return filled(*self.as_text(), bound.integer(0, 0), fill, side);
}
Value text_ljust(Interpreter&, const Value& self, Args a) { return padded("ljust", self, a, Side::left); }
Value text_rjust(Interpreter&, const Value& self, Args a) { return padded("rjust", self, a, Side::right); }
Value text_center(Interpreter&, const Value& self, Args a) { return padded("center", self, a, Side::both); }

Value text_zfill(Interpreter&, const Value& self, Args arguments) {
  const Bound bound("zfill", arguments, {"width"}, 1);
  const Text& text = *self.as_text();
  const bool sign = text.size() > 0 && (text.view()[0] == '-' || text.view()[0] == '+');
  const TextPtr digits = slice(text, sign, text.size());
  const TextPtr padded_digits = filled(*digits, bound.integer(0, 0) - sign, '0', Side::right);
  MarkedText out;
  append_slice(out, text.marked(), 0, sign);
  append(out, padded_digits->marked());
  return make_text(std::move(out));
}

Value all_of(const Value& self, bool (*holds)(char32_t)) {
  for (CharReader reader(self.as_text()->marked()); reader.next();)
    if (!holds(reader.code())) return false;
  return self.truthy();
}
Value text_isspace(Interpreter&, const Value& self, Args) { return all_of(self, is_space); }
Value text_isdigit(Interpreter&, const Value& self, Args) { return all_of(self, is_digit); }
Value text_isnumeric(Interpreter&, const Value& self, Args) { return all_of(self, is_numeric); }
Value text_isalpha(Interpreter&, const Value& self, Args) { return all_of(self, is_alpha); }
Value text_isalnum(Interpreter&, const Value& self, Args) {
  return all_of(self, [](char32_t code) { return is_alpha(code) || is_numeric(code); });
}
Value text_isupper(Interpreter& interpreter, const Value& self, Args) { return interpreter.test("upper", self, {}); }
Value text_islower(Interpreter& interpreter, const Value& self, Args) { return interpreter.test("lower", self, {}); }

Value text_format(Interpreter& interpreter, const Value& self, Args arguments) {
  return format_braces(interpreter, *self.as_text(), arguments);
}

Value dict_items(Interpreter&, const Value& self, Args) {
  std::vector<Value> items;
  for (const auto& [key, value] : self.as_dict()->items) items.push_back(make_list({key, value}, List::Kind::tuple));
  return make_list(std::move(items), List::Kind::view);
}
Value dict_keys(Interpreter&, const Value& self, Args) { return make_list(walk(self), List::Kind::view); }
Value dict_values(Interpreter&, const Value& self, Args) {
  std::vector<Value> values;
  for (const auto& item : self.as_dict()->items) values.push_back(item.second);
  return make_list(std::move(values), List::Kind::view);
}
Value dict_get(Interpreter&, const Value& self, Args arguments) {
  const Bound bound("get", arguments, {"key", "default"}, 1);
  check_hashable(bound[0]);
  if (const Value* value = self.as_dict()->find(bound[0])) return *value;
  return bound.has(1) ? bound[1] : Value(None{});
}
Value dict_copy(Interpreter&, const Value& self, Args) { return self; }

Value list_index(Interpreter&, const Value& self, Args arguments) {
  const Bound bound("index", arguments, {"value"}, 1);
  const auto& items = self.as_list()->items;
  for (size_t i = 0; i < items.size(); ++i)
    if (equals(items[i], bound[0])) return static_cast<int64_t>(i);
  raise("the value is not in the list");
}
Value list_count(Interpreter&, const Value& self, Args arguments) {
  const Bound bound("count", arguments, {"value"}, 1);
  const auto& items = self.as_list()->items;
  return static_cast<int64_t>(
      std::count_if(items.begin(), items.end(), [&](const Value& item) { return equals(item, bound[0]); }));
}
Value list_copy(Interpreter&, const Value& self, Args) { return self; }

constexpr Native kTextMethods[] = {
    {"capitalize", text_capitalize},
    {"casefold", text_lower},
    {"center", text_center},
    {"count", text_count},
    {"endswith", text_endswith},
    {"find", text_find},
    {"format", text_format},
    {"index", text_index},
    {"isalnum", text_isalnum},
    {"isalpha", text_isalpha},
    {"isdecimal", text_isdigit},
    {"isdigit", text_isdigit},
    {"islower", text_islower},
    {"isnumeric", text_isnumeric},
    {"isspace", text_isspace},
    {"isupper", text_isupper},
    {"join", text_join},
    {"ljust", text_ljust},
    {"lower", text_lower},
    {"lstrip", text_lstrip},
    {"partition", text_partition},
    {"removeprefix", text_removeprefix},
    {"removesuffix", text_removesuffix},
    {"replace", text_replace},
    {"rfind", text_rfind},
    {"rindex", text_rindex},
    {"rjust", text_rjust},
    {"rpartition", text_rpartition},
    {"rsplit", text_rsplit},
    {"rstrip", text_rstrip},
    {"split", text_split},
    {"splitlines", text_splitlines},
    {"startswith", text_startswith},
    {"strip", text_strip},
    {"swapcase", text_swapcase},
    {"title", text_title},
    {"upper", text_upper},
    {"zfill", text_zfill},
};
constexpr Native kDictMethods[] = {
    {"copy", dict_copy}, {"get", dict_get}, {"items", dict_items}, {"keys", dict_keys}, {"values", dict_values}};
constexpr Native kListMethods[] = {{"copy", list_copy}, {"count", list_count}, {"index", list_index}};

template <size_t kCount>
NativeFunction find_in(const Native (&table)[kCount], std::string_view name) {
  for (const Native& entry : table)
    if (entry.name == name) return entry.function;
  return nullptr;
}

}  // namespace

NativeFunction find_text_method(std::string_view name) { return find_in(kTextMethods, name); }
NativeFunction find_dict_method(std::string_view name) { return find_in(kDictMethods, name); }
NativeFunction find_list_method(std::string_view name) { return find_in(kListMethods, name); }

}  // namespace inkstone::jinja
