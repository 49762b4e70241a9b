#include "format/shards.h"

#include <algorithm>
#include <set>
#include <system_error>

#include "base/embedded.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "format/json_fields.h"

namespace inkstone {
namespace {

constexpr size_t kMaxIndexBytes = 100 << 20;
constexpr size_t kMaxShards = 10000;
constexpr std::string_view kSuffix = ".safetensors";

// A name that stays in the folder: no separators, no "..", not hidden, nothing that a terminal would obey.
bool is_plain_name(std::string_view name) {
  if (name.size() <= kSuffix.size() || name.size() > 255 || !name.ends_with(kSuffix) || name.starts_with('.'))
    return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return c != '/' && c != '\\' && c != ':' && static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
  });
}

struct NumberedName {
  int number = 0;
  int count = 0;
};

// "model-00002-of-00005.safetensors" as 2 of 5.
std::optional<NumberedName> numbered(std::string_view name) {
  constexpr std::string_view kForm = "model-00000-of-00000.safetensors";
  if (name.size() != kForm.size()) return std::nullopt;
  NumberedName result;
  for (size_t i = 0; i < kForm.size(); ++i) {
    if (kForm[i] != '0') {
      if (name[i] != kForm[i]) return std::nullopt;
      continue;
    }
    if (name[i] < '0' || name[i] > '9') return std::nullopt;
    int& value = i < 12 ? result.number : result.count;
    value = value * 10 + (name[i] - '0');
  }
  return result;
}

// Without an index: every model*.safetensors, as the reference loads them; numbered ones must be complete.
std::vector<std::string> list_folder(const std::filesystem::path& folder) {
  std::set<std::string> files;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with("model") && is_plain_name(name)) files.insert(name);
    if (files.size() > kMaxShards) fail(Errc::bad_file, "{}: more than {} shards", folder.string(), kMaxShards);
  }
  if (error) fail(Errc::io, "{}: {}", folder.string(), error.message());
  if (files.empty())
    fail(Errc::not_found, "{}: no model.safetensors and no model.safetensors.index.json", folder.string());
  std::set<int> counts;
  for (const std::string& name : files) {
    const auto number = numbered(name);
    if (!number) continue;
    if (number->number < 1 || number->number > number->count)
      fail(Errc::bad_file, "{}: its number is not from 1 to {}", (folder / name).string(), number->count);
    if (!counts.insert(number->count).second) continue;
    for (int i = 1; i <= number->count; ++i) {
      const std::string sibling = fmt::format("model-{:05}-of-{:05}.safetensors", i, number->count);
      if (!files.contains(sibling))
        fail(Errc::not_found, "{}: missing, but {} is there", (folder / sibling).string(), name);
    }
  }
  return {files.begin(), files.end()};
}

}  // namespace

std::map<std::string, std::string, std::less<>> parse_shard_index(std::string_view json, std::string_view origin) {
  const Json root = Json::parse(json, origin);
  const JsonFields fields(root, std::string(origin));
  const Json& weight_map = fields.require("weight_map");
  if (!weight_map.is_object()) fields.reject("weight_map", weight_map, "an object");
  std::map<std::string, std::string, std::less<>> map;
  for (const auto& [name, file] : weight_map.as_object()) {
    if (!file.is_string() || !is_plain_name(file.as_string()))
      fail(Errc::bad_file, "{}: weight_map: {}: found {}, expected the name of a .safetensors file in the folder",
           origin, name, describe(file));
    map.emplace(name, file.as_string());
  }
  if (map.empty()) fail(Errc::bad_file, "{}: weight_map: empty", origin);
  return map;
}

ShardList find_shards(const std::filesystem::path& folder) {
  std::error_code error;
  if (!file_exists(folder)) fail(Errc::not_found, "{}: no such folder", folder.string());
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  ShardList list;
  if (!file_exists(index)) {
    list.files = list_folder(folder);
    return list;
  }
  list.weight_map = parse_shard_index(read_file(index, kMaxIndexBytes), index.string());
  std::set<std::string> files;
  for (const auto& [name, file] : *list.weight_map) files.insert(file);
  if (files.size() > kMaxShards)
    fail(Errc::bad_file, "{}: {} shards, expected at most {}", index.string(), files.size(), kMaxShards);
  for (const std::string& file : files)
    if (!file_exists(folder / file))
      fail(Errc::not_found, "{}: missing, but {} names it", (folder / file).string(), index.filename().string());
  list.files.assign(files.begin(), files.end());
  return list;
}

}  // namespace inkstone
