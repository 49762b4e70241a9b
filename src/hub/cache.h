// The models that are on this machine, in the layouts that other tools share.
//   Hugging Face: models--ORG--NAME/{refs/main, blobs/<etag>, snapshots/<commit>/FILE -> ../../blobs/<etag>}, and locks
//   in .locks/models--ORG--NAME/<etag>.lock. ModelScope: models/ORG/NAME/FILE with each '.' of the name as "___",
//   partial files in ._____temp, locks in .lock.
// Reads files only; remove_model() alone deletes. Links that lead out of a model's own folder are refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hub/names.h"
#include "hub/settings.h"

namespace inkstone {

// Where a model is kept, and where it is put. Hugging Face: the folder of blobs/ and snapshots/.
std::filesystem::path model_folder(const HubSettings& settings, const ModelName& name);
// The lock that whoever changes the model holds.
std::filesystem::path model_lock(const HubSettings& settings, const ModelName& name);

// The commit that refs/<revision> holds, or the revision itself where it is one.
std::optional<std::string> cached_commit(const std::filesystem::path& model_folder, const std::string& revision);

// Whether a folder holds what it takes to run: config.json, tokenizer.json and all weights that it speaks of.
bool is_complete(const std::filesystem::path& folder);

// The folder of a complete model, for `revision` (empty: the hub's default). Throws Error(bad_file) for a link that
// leaves the cache.
std::optional<std::filesystem::path> find_model(const HubSettings& settings, const ModelName& name,
                                                const std::string& revision = {});

struct CachedModel {
  ModelName name;
  Hub hub = Hub::huggingface;
  std::string commit;             // empty: the hub's layout does not say
  std::vector<std::string> refs;  // branches and tags that stand for it: "main"
  std::filesystem::path folder;
  uint64_t bytes = 0;
  int64_t modified = 0;  // seconds since 1970
  bool complete = false;
};

// By name; one entry for each snapshot.
std::vector<CachedModel> list_models(const HubSettings& settings);

// Removes all that the cache has of a model; false if it has nothing. Throws Error(io) while somebody pulls it.
bool remove_model(const HubSettings& settings, const ModelName& name);

}  // namespace inkstone
