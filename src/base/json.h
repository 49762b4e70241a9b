// Json: a JSON value as the files and messages have it. Objects keep their order, integers stay integers (a template
// prints 1 and 1.0 differently). Parsed by simdjson (strict UTF-8, bounded depth, duplicate keys refused).
// A plain value type: copy, move, no shared state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace inkstone {

class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;  // in file order, keys unique

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(int value) : value_(static_cast<int64_t>(value)) {}
  Json(int64_t value) : value_(value) {}
  Json(double value) : value_(value) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}

  // Parses one document. `origin` names it in errors ("config.json"). Throws Error(bad_file).
  static Json parse(std::string_view text, std::string_view origin);

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_int() const { return std::holds_alternative<int64_t>(value_); }
  bool is_double() const { return std::holds_alternative<double>(value_); }
  bool is_number() const { return is_int() || is_double(); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }
  const char* type_name() const;  // "null", "bool", "int", "float", "string", "array", "object"

  // Unchecked by design of the caller: CHECKs that the type fits.
  bool as_bool() const;
  int64_t as_int() const;
  double as_double() const;  // also of an int
  const std::string& as_string() const;
  const Array& as_array() const;
  const Object& as_object() const;
  Array& as_array();
  Object& as_object();

  // The member of an object, or nullptr (also when this is no object).
  const Json* find(std::string_view key) const;
  // Sets or adds a member; a null value becomes an object first.
  Json& operator[](std::string_view key);
  void push_back(Json value);

  // Serialises. indent < 0: one line, as Python's json.dumps(ensure_ascii=False) writes it (", " and ": ").
  std::string dump(int indent = -1) const;

  friend bool operator==(const Json&, const Json&) = default;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value_;
};

// A double as Python's repr writes it ("1.0", "1e-07", "1e+16", "NaN").
std::string python_repr(double value);

// `text` as a JSON string literal with quotes; non-ASCII characters stay as they are.
std::string json_quote(std::string_view text);

}  // namespace inkstone
