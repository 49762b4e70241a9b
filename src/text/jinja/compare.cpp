// Equality, order and containment as Python has them.
#include <algorithm>
#include <cmath>

#include "text/jinja/value.h"

namespace inkstone::jinja {
namespace {

// -1, 0, 1, or 2 where NaN is involved. Exact also where an int64 has no double.
int compare_numbers(const Value& a, const Value& b) {
  if (a.is_int() && b.is_int()) return a.as_int() < b.as_int() ? -1 : a.as_int() > b.as_int();
  if (a.is_double() && b.is_double()) {
    const double x = a.as_double(), y = b.as_double();
    return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
  }
  if (a.is_double()) {
    const int reversed = compare_numbers(b, a);
    return reversed == 2 ? 2 : -reversed;
  }
  const double y = b.as_double();
  if (std::isnan(y)) return 2;
  if (y >= 0x1p63) return -1;
  if (y < -0x1p63) return 1;
  const auto whole = static_cast<int64_t>(y);
  if (a.as_int() != whole) return a.as_int() < whole ? -1 : 1;
  const double fraction = y - static_cast<double>(whole);
  return fraction > 0 ? -1 : fraction < 0;
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  return std::all_of(a.items.begin(), a.items.end(), [&](const Dict::Item& item) {
    const Value* other = b.find(item.first);
    return other && equals(item.second, *other);
  });
}

bool equal_lists(const List& a, const List& b) {
  if (&a == &b) return true;
  const bool comparable = (a.is_tuple() && b.is_tuple()) || (a.kind == b.kind && a.kind != List::Kind::generator);
  return comparable && a.items.size() == b.items.size() &&
         std::equal(a.items.begin(), a.items.end(), b.items.begin(), equals);
}

}  // namespace

bool equals(const Value& a, const Value& b) {
  charge(32);
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.is_text() && b.is_text()) {
    if (a.as_text()->size() != b.as_text()->size()) return false;
    charge(a.as_text()->size());
    return a.view() == b.view();
  }
  if (a.is_list() && b.is_list()) return equal_lists(*a.as_list(), *b.as_list());
  if (a.is_dict() && b.is_dict()) return equal_dicts(*a.as_dict(), *b.as_dict());
  if (a.is_namespace() && b.is_namespace()) return a.as_namespace() == b.as_namespace();
  if (a.is_function() && b.is_function()) return a.as_function() == b.as_function();
  if (a.is_loop() && b.is_loop()) return a.as_loop() == b.as_loop();
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

bool less(const Value& a, const Value& b) {
  charge(32);
  a.check_defined();
  b.check_defined();
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == -1;
  if (a.is_text() && b.is_text()) {
    charge(std::min(a.as_text()->size(), b.as_text()->size()));
    return a.view() < b.view();  // UTF-8 sorts as its code points do
  }
  if (a.is_list() && b.is_list()) {
    const List &x = *a.as_list(), &y = *b.as_list();
    if ((x.is_tuple() && y.is_tuple()) || (x.kind == List::Kind::list && y.kind == List::Kind::list)) {
      for (size_t i = 0; i < x.items.size() && i < y.items.size(); ++i)
        if (!equals(x.items[i], y.items[i])) return less(x.items[i], y.items[i]);
      return x.items.size() < y.items.size();
    }
  }
  raise("'<' not supported between instances of '{}' and '{}'", a.type_name(), b.type_name());
}

bool contains(const Value& container, const Value& item) {
  if (container.is_text()) {
    if (!item.is_text()) raise("'in <string>' requires string as left operand, not {}", item.type_name());
    return find_text(container.view(), item.view(), 0) != std::string_view::npos;
  }
  if (container.is_dict()) {
    check_hashable(item);
    return container.as_dict()->find(item) != nullptr;
  }
  if (container.is_list() && container.as_list()->kind != List::Kind::generator) {
    const auto& items = container.as_list()->items;
    return std::any_of(items.begin(), items.end(), [&](const Value& other) { return equals(other, item); });
  }
  if (!is_iterable(container)) raise("argument of type '{}' is not iterable", container.type_name());
  const std::vector<Value> items = walk(container);
  return std::any_of(items.begin(), items.end(), [&](const Value& other) { return equals(other, item); });
}

void check_hashable(const Value& key) {
  if (key.is_list() && key.as_list()->is_tuple()) {
    charge(32);
    for (const Value& item : key.as_list()->items) check_hashable(item);
    return;
  }
  if (key.is_list() || key.is_dict()) raise("unhashable type: '{}'", key.type_name());
}

}  // namespace inkstone::jinja
