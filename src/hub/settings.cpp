#include "hub/settings.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/mapped_file.h"

namespace inkstone {
namespace {

// Empty counts as unset, as for most readers of these variables.
std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::filesystem::path home() {
  const std::string home = variable("HOME");
  if (home.empty()) fail(Errc::usage, "HOME: not set, and neither is a variable that says where models are kept");
  return home;
}

// "~/models" as the Python tools expand it.
std::filesystem::path expanded(const std::string& path) {
  if (path == "~") return home();
  return path.starts_with("~/") ? home() / path.substr(2) : std::filesystem::path(path);
}

bool is_true(std::string value) {
  std::ranges::transform(value, value.begin(), [](char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; });
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

std::filesystem::path huggingface_home() {
  if (const std::string path = variable("HF_HOME"); !path.empty()) return expanded(path);
  const std::string cache = variable("XDG_CACHE_HOME");
  return (cache.empty() ? home() / ".cache" : expanded(cache)) / "huggingface";
}

std::string token_of(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return {};
  std::string token = read_file(file, 4096);
  std::erase_if(token, [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; });
  return token;
}

void check_token(const std::string& token, const char* name) {
  // A line break would write headers of its own.
  if (!std::ranges::all_of(token, [](char c) { return c > 0x20 && c < 0x7f; }))
    fail(Errc::usage, "{}: found a character that no token has", name);
}

HubSettings huggingface_settings() {
  HubSettings settings;
  if (const std::string path = variable("HF_HUB_CACHE"); !path.empty())
    settings.cache = expanded(path);
  else
    settings.cache = huggingface_home() / "hub";
  settings.endpoint = variable("HF_ENDPOINT");
  if (settings.endpoint.empty()) settings.endpoint = "https://huggingface.co";
  settings.token = variable("HF_TOKEN");
  while (settings.token.ends_with('\n') || settings.token.ends_with('\r')) settings.token.pop_back();
  if (settings.token.empty()) {
    const std::string path = variable("HF_TOKEN_PATH");
    // Where only HF_HUB_CACHE is set there may be no home, and no token.
    const bool has_home =
        !variable("HF_HOME").empty() || !variable("XDG_CACHE_HOME").empty() || !variable("HOME").empty();
    if (!path.empty() || has_home)
      settings.token = token_of(path.empty() ? huggingface_home() / "token" : expanded(path));
  }
  check_token(settings.token, "HF_TOKEN");
  return settings;
}

HubSettings modelscope_settings() {
  HubSettings settings;
  settings.hub = Hub::modelscope;
  if (const std::string path = variable("MODELSCOPE_CACHE"); !path.empty())
    settings.cache = expanded(path);
  else
    settings.cache = home() / ".cache" / "modelscope" / "hub";
  settings.endpoint = variable("MODELSCOPE_ENDPOINT");
  if (settings.endpoint.empty()) settings.endpoint = variable("MODELSCOPE_DOMAIN");
  if (settings.endpoint.empty()) settings.endpoint = "https://modelscope.cn";
  if (settings.endpoint.find("://") == std::string::npos) settings.endpoint = "https://" + settings.endpoint;
  settings.token = variable("MODELSCOPE_API_TOKEN");
  check_token(settings.token, "MODELSCOPE_API_TOKEN");
  return settings;
}

}  // namespace

const char* hub_name(Hub hub) { return hub == Hub::huggingface ? "huggingface" : "modelscope"; }

HubSettings hub_settings(Hub hub) {
  HubSettings settings = hub == Hub::huggingface ? huggingface_settings() : modelscope_settings();
  settings.cache = std::filesystem::absolute(settings.cache);
  settings.offline = is_true(variable("HF_HUB_OFFLINE"));
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  return settings;
}

}  // namespace inkstone
