// JsonFields: typed, range-checked members of a JSON object from a file, with errors that name file and member.
// A view: the object must outlive it. A member that is null counts as absent. Throws Error(bad_file) throughout.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace inkstone {

// A value for an error message: `string "abc"`, `int 7`; long ones by type alone.
std::string describe(const Json& value);

class JsonFields {
 public:
  // `where` names the object in errors ("config.json"). Throws if `object` is none.
  JsonFields(const Json& object, std::string where);

  const std::string& where() const { return where_; }
  // The member, or nullptr if it is absent or null.
  const Json* find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }
  // The member; throws if it is missing.
  const Json& require(std::string_view key) const;

  int integer(std::string_view key, int64_t lowest, int64_t highest) const;
  std::optional<int> maybe_integer(std::string_view key, int64_t lowest, int64_t highest) const;
  // As integer(), but 32768.0 counts, too: for what the reference only computes with.
  int integral(std::string_view key, int64_t lowest, int64_t highest) const;
  double number(std::string_view key, double lowest, double highest) const;
  std::optional<double> maybe_number(std::string_view key, double lowest, double highest) const;
  bool boolean(std::string_view key, bool otherwise) const;
  std::optional<bool> maybe_boolean(std::string_view key) const;
  const std::string& text(std::string_view key) const;
  // An int or a list of ints, as eos_token_id is; empty if absent.
  std::vector<int> integers(std::string_view key, int64_t lowest, int64_t highest) const;

  // Throws for `key`: "where: key: found .., expected ..".
  [[noreturn]] void reject(std::string_view key, const Json& found, std::string_view expected) const;

 private:
  int checked_integer(std::string_view key, const Json& value, int64_t lowest, int64_t highest) const;
  double checked_number(std::string_view key, const Json& value, double lowest, double highest) const;

  const Json* object_;
  std::string where_;
};

}  // namespace inkstone
