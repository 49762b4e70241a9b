// A YAML file as a small tree that knows its lines: mappings with unique plain keys, lists, scalars. Aliases, anchors,
// tags other than the plain ones, and several documents are refused: configurations need none, and bombs do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace inkstone {

struct YamlNode {
  enum class Kind : uint8_t { null, scalar, list, mapping };

  Kind kind = Kind::null;
  int line = 1;                   // from 1; of the key, for a member
  bool quoted = false;            // a scalar that is a string whatever it looks like
  std::string text;               // scalar
  std::vector<YamlNode> items;    // of a list or mapping, in file order
  std::vector<std::string> keys;  // of a mapping: one for each item

  const char* kind_name() const;  // "nothing", "a value", "a list", "a mapping"
};

// Throws Error(bad_file) with origin and line.
YamlNode parse_yaml(std::string_view text, std::string_view origin);

}  // namespace inkstone
