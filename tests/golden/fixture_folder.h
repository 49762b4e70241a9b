// Where the golden data lies: $INKSTONE_FIXTURES, or ../shared/fixtures beside the sources, or else the project's own
// small copy, tests/data/fixtures, so that a clone without the full set still tests something. The layout is the same
// in all of them: a folder a kind ("models", "quant"). fixture_folder_test.cpp says which one is in use.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace inkstone {

inline std::filesystem::path fixture_root() {
  // What somebody asked for is never replaced by something else: a wrong path must fail.
  const char* given = std::getenv("INKSTONE_FIXTURES");
  if (given != nullptr && *given != '\0') return given;
  // A worktree lies one folder deeper than the main checkout.
  const std::filesystem::path source = INKSTONE_SOURCE_DIR;
  for (const char* relative : {"../shared/fixtures", "../../shared/fixtures"})
    if (std::filesystem::is_directory(source / relative)) return (source / relative).lexically_normal();
  return source / "tests/data/fixtures";
}

// What lies directly in a folder, sorted; empty if there is no such folder.
inline std::vector<std::filesystem::path> entries(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

// Folders with a config.json at any depth up to 3 below `root`.
inline std::vector<std::filesystem::path> checkpoint_folders(const std::filesystem::path& root) {
  std::vector<std::filesystem::path> folders;
  std::error_code error;
  using Walk = std::filesystem::recursive_directory_iterator;
  for (auto it = Walk(root, error); !error && it != Walk(); it.increment(error)) {
    if (it.depth() >= 3) it.disable_recursion_pending();
    if (it->path().filename() == "config.json" &&
        std::filesystem::exists(it->path().parent_path() / "model.safetensors.index.json"))
      folders.push_back(it->path().parent_path());
    else if (it->path().filename() == "config.json" &&
             std::filesystem::exists(it->path().parent_path() / "model.safetensors"))
      folders.push_back(it->path().parent_path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace inkstone
