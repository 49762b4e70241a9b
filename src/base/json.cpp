#include "base/json.h"

#include <simdjson.h>

#include <charconv>
#include <cmath>
#include <unordered_set>

#include "base/error.h"

namespace inkstone {
namespace {

Json convert(const simdjson::dom::element& element, std::string_view origin);

Json convert_object(const simdjson::dom::object& source, std::string_view origin) {
  Json::Object object;
  object.reserve(source.size());
  std::unordered_set<std::string_view> seen;
  for (const auto& field : source) {
    if (!seen.insert(field.key).second)
      fail(Errc::bad_file, "{}: key \"{}\" stands twice in one object", origin, field.key);
    object.emplace_back(std::string(field.key), convert(field.value, origin));
  }
  return object;
}

Json convert(const simdjson::dom::element& element, std::string_view origin) {
  using simdjson::dom::element_type;
  switch (element.type()) {
    case element_type::NULL_VALUE: return {};
    case element_type::BOOL: return bool(element);
    case element_type::INT64: return int64_t(element);
    case element_type::UINT64: return static_cast<double>(uint64_t(element));  // beyond int64: the nearest double
    case element_type::DOUBLE: return double(element);
    case element_type::STRING: return std::string(std::string_view(element));
    case element_type::ARRAY: {
      const simdjson::dom::array source = element;
      Json::Array array;
      array.reserve(source.size());
      for (const auto& item : source) array.push_back(convert(item, origin));
      return array;
    }
    case element_type::OBJECT: return convert_object(element, origin);
  }
  return {};
}

void write(const Json& value, int indent, int depth, std::string& out) {
  const auto newline = [&](int level) {
    if (indent >= 0) {
      out += '\n';
      out.append(static_cast<size_t>(indent) * level, ' ');
    }
  };
  const std::string_view comma = indent >= 0 ? "," : ", ";
  if (value.is_null()) {
    out += "null";
  } else if (value.is_bool()) {
    out += value.as_bool() ? "true" : "false";
  } else if (value.is_int()) {
    out += std::to_string(value.as_int());
  } else if (value.is_double()) {
    out += python_repr(value.as_double());
  } else if (value.is_string()) {
    out += json_quote(value.as_string());
  } else if (value.is_array()) {
    out += '[';
    bool first = true;
    for (const Json& item : value.as_array()) {
      if (!first) out += comma;
      newline(depth + 1);
      write(item, indent, depth + 1, out);
      first = false;
    }
    if (!first) newline(depth);
    out += ']';
  } else {
    out += '{';
    bool first = true;
    for (const auto& [key, item] : value.as_object()) {
      if (!first) out += comma;
      newline(depth + 1);
      out += json_quote(key) + ": ";
      write(item, indent, depth + 1, out);
      first = false;
    }
    if (!first) newline(depth);
    out += '}';
  }
}

}  // namespace

Json Json::parse(std::string_view text, std::string_view origin) {
  simdjson::dom::parser parser;
  const simdjson::padded_string padded(text);
  simdjson::dom::element element;
  if (const auto error = parser.parse(padded).get(element); error != simdjson::SUCCESS)
    fail(Errc::bad_file, "{}: not valid JSON: {}", origin, simdjson::error_message(error));
  return convert(element, origin);
}

const char* Json::type_name() const {
  static constexpr const char* kNames[] = {"null", "bool", "int", "float", "string", "array", "object"};
  return kNames[value_.index()];
}

bool Json::as_bool() const {
  CHECK(is_bool());
  return std::get<bool>(value_);
}
int64_t Json::as_int() const {
  CHECK(is_int());
  return std::get<int64_t>(value_);
}
double Json::as_double() const {
  CHECK(is_number());
  return is_int() ? static_cast<double>(std::get<int64_t>(value_)) : std::get<double>(value_);
}
const std::string& Json::as_string() const {
  CHECK(is_string());
  return std::get<std::string>(value_);
}
const Json::Array& Json::as_array() const {
  CHECK(is_array());
  return std::get<Array>(value_);
}
const Json::Object& Json::as_object() const {
  CHECK(is_object());
  return std::get<Object>(value_);
}
Json::Array& Json::as_array() {
  CHECK(is_array());
  return std::get<Array>(value_);
}
Json::Object& Json::as_object() {
  CHECK(is_object());
  return std::get<Object>(value_);
}

const Json* Json::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  for (const auto& [name, value] : std::get<Object>(value_))
    if (name == key) return &value;
  return nullptr;
}

Json& Json::operator[](std::string_view key) {
  if (is_null()) value_ = Object{};
  Object& object = as_object();
  for (auto& [name, value] : object)
    if (name == key) return value;
  return object.emplace_back(std::string(key), Json()).second;
}

void Json::push_back(Json value) {
  if (is_null()) value_ = Array{};
  as_array().push_back(std::move(value));
}

std::string Json::dump(int indent) const {
  std::string out;
  write(*this, indent, 0, out);
  return out;
}

std::string python_repr(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  char digits[32] = {};
  const auto end = std::to_chars(digits, digits + sizeof digits - 1, value, std::chars_format::scientific).ptr;
  const std::string_view scientific(digits, static_cast<size_t>(end - digits));
  const size_t e = scientific.find('e');
  const int exponent = std::atoi(scientific.data() + e + 1);
  if (exponent < -4 || exponent >= 16) return std::string(scientific);
  char fixed[64];
  const auto fixed_end = std::to_chars(fixed, fixed + sizeof fixed, value, std::chars_format::fixed).ptr;
  std::string text(fixed, static_cast<size_t>(fixed_end - fixed));
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::string json_quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
        else
          out += c;
    }
  }
  out += '"';
  return out;
}

}  // namespace inkstone
