// Models by their name on a hub: what the verbs pull, list and rm share, and how every other verb finds a named model.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "hub/pull.h"
#include "hub/settings.h"

namespace CLI {
class App;
}

namespace inkstone {

// --hub; without it INKSTONE_HUB, else Hugging Face.
struct HubFlag {
  std::string name;

  void add_to(CLI::App& verb);
  Hub hub() const;
};

// Pulls with a progress line on a terminal and Ctrl-C as a way out.
Pulled pull_with_progress(const HubSettings& settings, const ModelName& name, const std::string& revision, int retries);

// The folder of the model that `flag` names, which is no path that exists: an alias or ORG/NAME, of which the caches
// of both hubs are searched. One that is not there is fetched where somebody at a terminal can see how much that is,
// and `may_pull`. Throws Error(not_found) for anything else.
std::filesystem::path named_model_folder(const char* flag, const std::string& text, bool may_pull);

// What a user typed as a model's name. Throws Error(usage).
ModelName required_model_name(const std::string& text);

}  // namespace inkstone
