// Filters that order, cut and measure.
#include <algorithm>

#include "text/jinja/filters.h"
#include "text/jinja/text_ops.h"

namespace inkstone::jinja {
namespace {

using Args = const Arguments&;

// Sorting and comparing by an attribute, strings without case unless asked for.
class Key {
 public:
  Key(Interpreter& interpreter, const Value* attribute, bool case_sensitive)
      : interpreter_(interpreter), case_sensitive_(case_sensitive) {
    if (attribute && !attribute->is_none()) attribute_ = *attribute;
  }

  Value of(const Value& item) const {
    const Value value = attribute_ ? attribute_path(interpreter_, item, *attribute_) : item;
    return folded(value);
  }
  Value folded(const Value& value) const {
    return !case_sensitive_ && value.is_text() ? Value(lower(*value.as_text())) : value;
  }

 private:
  Interpreter& interpreter_;
  bool case_sensitive_;
  std::optional<Value> attribute_;
};

struct Keyed {
  Value key, item;
};

std::vector<Keyed> keyed(const std::vector<Value>& items, const Key& key) {
  std::vector<Keyed> out;
  for (const Value& item : items) out.push_back({key.of(item), item});
  return out;
}

void sort_keyed(std::vector<Keyed>& items, bool reverse) {
  std::stable_sort(items.begin(), items.end(),
                   [&](const Keyed& a, const Keyed& b) { return reverse ? less(b.key, a.key) : less(a.key, b.key); });
}

std::vector<Value> items_of(std::vector<Keyed> pairs) {
  std::vector<Value> items;
  for (Keyed& pair : pairs) items.push_back(std::move(pair.item));
  return items;
}

Value filter_length(Interpreter&, const Value& value, Args) { return static_cast<int64_t>(length(value)); }
Value filter_list(Interpreter&, const Value& value, Args) { return make_list(walk(value)); }

Value filter_first(Interpreter&, const Value& value, Args) {
  if (value.is_list() && value.as_list()->kind == List::Kind::generator) {
    const List& list = *value.as_list();
    if (list.walked < list.items.size()) return list.items[list.walked++];
    return Value::undefined("No first item, sequence was empty.");
  }
  if (value.is_text() && value.as_text()->size() > 0) return slice(*value.as_text(), 0, value.as_text()->offset_of(1));
  std::vector<Value> items = walk(value);
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}

Value filter_last(Interpreter&, const Value& value, Args) {
  if (value.is_list() && value.as_list()->kind == List::Kind::generator) raise("'generator' object is not reversible");
  const std::vector<Value> items = walk(value);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value filter_reverse(Interpreter&, const Value& value, Args) {
  if (value.is_list() && value.as_list()->kind == List::Kind::generator) return make_list(walk(value));
  std::vector<Value> items = walk(value);
  std::reverse(items.begin(), items.end());
  if (!value.is_text()) return make_list(std::move(items), List::Kind::generator);
  return make_text(join(items, *make_text(MarkedText())));
}

Value filter_items(Interpreter&, const Value& value, Args) {
  if (value.is_undefined()) return make_list({}, List::Kind::generator);
  if (!value.is_dict()) raise("can only get item pairs from a mapping");
  std::vector<Value> items;
  for (const auto& [key, item] : value.as_dict()->items) items.push_back(make_list({key, item}, List::Kind::tuple));
  return make_list(std::move(items), List::Kind::generator);
}

Value filter_sort(Interpreter& interpreter, const Value& value, Args arguments) {
  const Bound bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const bool case_sensitive = bound.boolean(1, false);
  std::vector<Keyed> items;
  // "a,b": by several attributes
  if (bound.has(2) && bound[2].is_text() && bound[2].view().find(',') != std::string_view::npos) {
    const std::string paths(bound[2].view());
    for (const Value& item : walk(value)) {
      std::vector<Value> keys;
      for (size_t at = 0; at <= paths.size();) {
        const size_t end = std::min(paths.find(',', at), paths.size());
        const Value path = text_value(std::string_view(paths).substr(at, end - at));
        keys.push_back(Key(interpreter, &path, case_sensitive).of(item));
        at = end + 1;
      }
      items.push_back({make_list(std::move(keys)), item});
    }
  } else {
    items = keyed(walk(value), Key(interpreter, bound.has(2) ? &bound[2] : nullptr, case_sensitive));
  }
  sort_keyed(items, bound.boolean(0, false));
  return make_list(items_of(std::move(items)));
}

Value filter_dictsort(Interpreter& interpreter, const Value& value, Args arguments) {
  const Bound bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  value.check_defined();
  if (!value.is_dict()) raise("dictsort: '{}' object has no items", value.type_name());
  const std::string by = bound.has(1) ? plain(bound[1]) : "key";
  if (by != "key" && by != "value") raise("dictsort: you can only sort by either 'key' or 'value'");
  const Key key(interpreter, nullptr, bound.boolean(0, false));
  std::vector<Keyed> items;
  for (const auto& [name, item] : value.as_dict()->items)
    items.push_back({key.of(by == "key" ? name : item), make_list({name, item}, List::Kind::tuple)});
  sort_keyed(items, bound.boolean(2, false));
  return make_list(items_of(std::move(items)));
}

Value filter_unique(Interpreter& interpreter, const Value& value, Args arguments) {
  const Bound bound("unique", arguments, {"case_sensitive", "attribute"});
  const Key key(interpreter, bound.has(1) ? &bound[1] : nullptr, bound.boolean(0, false));
  std::vector<Value> seen, items;
  for (const Value& item : walk(value)) {
    const Value of = key.of(item);
    check_hashable(of);
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& other) { return equals(other, of); })) continue;
    seen.push_back(of);
    items.push_back(item);
  }
  return make_list(std::move(items), List::Kind::generator);
}

Value extreme(const char* name, Interpreter& interpreter, const Value& value, Args arguments, bool smallest) {
  const Bound bound(name, arguments, {"case_sensitive", "attribute"});
  const Key key(interpreter, bound.has(1) ? &bound[1] : nullptr, bound.boolean(0, false));
  std::vector<Keyed> items = keyed(walk(value), key);
  if (items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const Keyed* best = &items[0];
  for (const Keyed& item : items)
    if (smallest ? less(item.key, best->key) : less(best->key, item.key)) best = &item;
  return best->item;
}
Value filter_min(Interpreter& i, const Value& value, Args a) { return extreme("min", i, value, a, true); }
Value filter_max(Interpreter& i, const Value& value, Args a) { return extreme("max", i, value, a, false); }

Value filter_sum(Interpreter& interpreter, const Value& value, Args arguments) {
  const Bound bound("sum", arguments, {"attribute", "start"});
  Value total = bound.has(1) ? bound[1] : Value(int64_t{0});
  const bool by_attribute = bound.has(0) && !bound[0].is_none();
  for (const Value& item : walk(value))
    total = arithmetic(Op::add, total, by_attribute ? attribute_path(interpreter, item, bound[0]) : item);
  return total;
}

Value filter_groupby(Interpreter& interpreter, const Value& value, Args arguments) {
  const Bound bound("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  const Key key(interpreter, nullptr, bound.boolean(2, false));
  std::vector<Keyed> items;
  for (const Value& item : walk(value)) {
    Value of = attribute_path(interpreter, item, bound[0]);
    if (of.is_undefined() && bound.has(1)) of = bound[1];
    items.push_back({std::move(of), item});
  }
  std::stable_sort(items.begin(), items.end(),
                   [&](const Keyed& a, const Keyed& b) { return less(key.folded(a.key), key.folded(b.key)); });
  std::vector<Value> groups;
  for (size_t begin = 0; begin < items.size();) {
    size_t end = begin;
    std::vector<Value> members;
    while (end < items.size() && equals(key.folded(items[end].key), key.folded(items[begin].key)))
      members.push_back(items[end++].item);
    if (end == begin) members.push_back(items[end++].item);  // NaN equals nothing
    groups.push_back(make_list({items[begin].key, make_list(std::move(members))}, List::Kind::group));
    begin = end;
  }
  return make_list(std::move(groups));
}

Value filter_batch(Interpreter&, const Value& value, Args arguments) {
  const Bound bound("batch", arguments, {"linecount", "fill_with"}, 1);
  const int64_t size = bound.integer(0, 0);
  if (size < 1) raise("batch: linecount must be at least 1");
  if (size > kMaxRange) raise("batch: linecount is more than {}", kMaxRange);
  std::vector<Value> rows, row;
  for (Value& item : walk(value)) {
    if (static_cast<int64_t>(row.size()) == size) rows.push_back(make_list(std::exchange(row, {})));
    row.push_back(std::move(item));
  }
  if (!row.empty()) {
    if (bound.has(1) && !bound[1].is_none()) row.resize(static_cast<size_t>(size), bound[1]);
    rows.push_back(make_list(std::move(row)));
  }
  return make_list(std::move(rows), List::Kind::generator);
}

Value filter_slice(Interpreter&, const Value& value, Args arguments) {
  const Bound bound("slice", arguments, {"slices", "fill_with"}, 1);
  const int64_t slices = bound.integer(0, 0);
  if (slices < 1 || slices > kMaxRange) raise("slice: the number of slices must be 1 to {}", kMaxRange);
  const std::vector<Value> items = walk(value);
  const size_t count = static_cast<size_t>(slices), each = items.size() / count, longer = items.size() % count;
  std::vector<Value> columns;
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t end = at + each + (i < longer);
    std::vector<Value> column(items.begin() + static_cast<ptrdiff_t>(at), items.begin() + static_cast<ptrdiff_t>(end));
    if (bound.has(1) && !bound[1].is_none() && i >= longer) column.push_back(bound[1]);
    columns.push_back(make_list(std::move(column)));
    at = end;
  }
  return make_list(std::move(columns), List::Kind::generator);
}

constexpr Native kFilters[] = {
    {"batch", filter_batch},     {"count", filter_length}, {"dictsort", filter_dictsort}, {"first", filter_first},
    {"groupby", filter_groupby}, {"items", filter_items},  {"last", filter_last},         {"length", filter_length},
    {"list", filter_list},       {"max", filter_max},      {"min", filter_min},           {"reverse", filter_reverse},
    {"slice", filter_slice},     {"sort", filter_sort},    {"sum", filter_sum},           {"unique", filter_unique},
};

}  // namespace

std::span<const Native> list_filters() { return kFilters; }

}  // namespace inkstone::jinja
