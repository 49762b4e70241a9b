// Fetches a model from a hub into its cache, whole and verified, or leaves partial files that the next call goes on
// with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "hub/download.h"
#include "hub/names.h"
#include "hub/settings.h"

namespace inkstone {

struct PullOptions {
  std::string revision;  // empty: the hub's default
  int retries = 8;
  std::function<bool()> cancelled;
  // Once the hub has said what there is: files in all and bytes that are not here yet.
  std::function<void(size_t files, uint64_t bytes, uint64_t missing)> on_plan;
  std::function<void(uint64_t done, uint64_t total)> on_progress;
  std::function<void()> on_wait;  // another process pulls the same model: called several times a second
};

struct Pulled {
  std::filesystem::path folder;  // of the files
  std::string commit;            // empty where the hub names none
  uint64_t bytes = 0;            // of all files
  uint64_t received = 0;         // over the network
};

// Throws as fetch_files(), and Error(not_found) where the settings say offline.
Pulled pull_model(const HubSettings& settings, const ModelName& name, const PullOptions& options);

}  // namespace inkstone
