// Which hub, where its cache is and how it is reached, as the variables say that its own tools read.
// Hugging Face: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE.
// ModelScope: MODELSCOPE_CACHE, MODELSCOPE_ENDPOINT or MODELSCOPE_DOMAIN, MODELSCOPE_API_TOKEN; HF_HUB_OFFLINE, too.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace inkstone {

enum class Hub { huggingface, modelscope };

struct HubSettings {
  Hub hub = Hub::huggingface;
  std::filesystem::path cache;  // the folder of models--ORG--NAME, or that of models/ORG/NAME
  std::string endpoint;         // without a slash at the end
  std::string token;            // empty: none
  bool offline = false;         // nothing may touch the network

  const char* default_revision() const { return hub == Hub::huggingface ? "main" : "master"; }
};

const char* hub_name(Hub hub);  // "huggingface", "modelscope"

// Reads the environment. Throws Error(usage) where it names no home to keep a cache in.
HubSettings hub_settings(Hub hub);

}  // namespace inkstone
