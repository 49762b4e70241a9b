// Which files of a model folder hold its tensors: by model.safetensors.index.json, or by their names.
// Private to the format room.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inkstone {

struct ShardList {
  std::vector<std::string> files;  // plain names in the folder, sorted, each once
  // Tensor name to file name, where there is an index.
  std::optional<std::map<std::string, std::string, std::less<>>> weight_map;
};

// Throws Error(not_found) where folder or files are missing, Error(bad_file) for a bad index.
ShardList find_shards(const std::filesystem::path& folder);

// The index alone, for tests and fuzzing.
std::map<std::string, std::string, std::less<>> parse_shard_index(std::string_view json, std::string_view origin);

}  // namespace inkstone
