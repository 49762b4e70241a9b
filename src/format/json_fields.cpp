#include "format/json_fields.h"

#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"

namespace inkstone {

std::string describe(const Json& value) {
  if (value.is_array() || value.is_object() || value.is_null()) return value.type_name();
  const std::string text = value.dump();
  if (text.size() > 100) return fmt::format("a {} of {} bytes", value.type_name(), text.size());
  return fmt::format("{} {}", value.type_name(), text);
}

JsonFields::JsonFields(const Json& object, std::string where) : object_(&object), where_(std::move(where)) {
  if (!object.is_object()) fail(Errc::bad_file, "{}: found {}, expected a JSON object", where_, describe(object));
}

const Json* JsonFields::find(std::string_view key) const {
  const Json* value = object_->find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

const Json& JsonFields::require(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) fail(Errc::bad_file, "{}: {}: missing", where_, key);
  return *value;
}

void JsonFields::reject(std::string_view key, const Json& found, std::string_view expected) const {
  fail(Errc::bad_file, "{}: {}: found {}, expected {}", where_, key, describe(found), expected);
}

int JsonFields::checked_integer(std::string_view key, const Json& value, int64_t lowest, int64_t highest) const {
  CHECK(lowest >= std::numeric_limits<int>::min() && highest <= std::numeric_limits<int>::max());
  if (!value.is_int() || value.as_int() < lowest || value.as_int() > highest)
    reject(key, value, fmt::format("an int from {} to {}", lowest, highest));
  return static_cast<int>(value.as_int());
}

double JsonFields::checked_number(std::string_view key, const Json& value, double lowest, double highest) const {
  // Written so that NaN fails, although JSON has none.
  if (!value.is_number() || !(value.as_double() >= lowest && value.as_double() <= highest))
    reject(key, value, fmt::format("a number from {} to {}", lowest, highest));
  return value.as_double();
}

int JsonFields::integer(std::string_view key, int64_t lowest, int64_t highest) const {
  return checked_integer(key, require(key), lowest, highest);
}

std::optional<int> JsonFields::maybe_integer(std::string_view key, int64_t lowest, int64_t highest) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  return checked_integer(key, *value, lowest, highest);
}

int JsonFields::integral(std::string_view key, int64_t lowest, int64_t highest) const {
  const Json& value = require(key);
  if (!value.is_double()) return checked_integer(key, value, lowest, highest);
  const double number = value.as_double();
  if (!(std::abs(number) < 0x1p53) || number != std::trunc(number))
    reject(key, value, fmt::format("an int from {} to {}", lowest, highest));
  return checked_integer(key, Json(static_cast<int64_t>(number)), lowest, highest);
}

double JsonFields::number(std::string_view key, double lowest, double highest) const {
  return checked_number(key, require(key), lowest, highest);
}

std::optional<double> JsonFields::maybe_number(std::string_view key, double lowest, double highest) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  return checked_number(key, *value, lowest, highest);
}

std::optional<bool> JsonFields::maybe_boolean(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_bool()) reject(key, *value, "true or false");
  return value->as_bool();
}

bool JsonFields::boolean(std::string_view key, bool otherwise) const { return maybe_boolean(key).value_or(otherwise); }

const std::string& JsonFields::text(std::string_view key) const {
  const Json& value = require(key);
  if (!value.is_string()) reject(key, value, "a string");
  return value.as_string();
}

std::vector<int> JsonFields::integers(std::string_view key, int64_t lowest, int64_t highest) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) return {checked_integer(key, *value, lowest, highest)};
  std::vector<int> list;
  for (const Json& item : value->as_array()) list.push_back(checked_integer(key, item, lowest, highest));
  return list;
}

}  // namespace inkstone
