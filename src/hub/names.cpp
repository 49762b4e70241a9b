#include "hub/names.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"

namespace inkstone {
namespace {

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

bool is_name_part(std::string_view part) {
  const auto at_end = [](char c) { return c == '-' || c == '.'; };
  return !part.empty() && part.size() <= 96 && std::ranges::all_of(part, is_word) && !at_end(part.front()) &&
         !at_end(part.back()) && part.find("--") == part.npos && part.find("..") == part.npos;
}

// What is wrong with a relative path, or nullptr.
const char* fault_of_path(std::string_view path) {
  if (path.empty()) return "an empty path";
  if (path.size() > 1024) return "a path of more than 1024 bytes";
  for (const char c : path)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\') return "a control character or a backslash";
  while (true) {
    const std::string_view part = path.substr(0, path.find('/'));
    if (part.empty() || part == "." || part == "..") return "an absolute path, or a part that is empty, . or ..";
    if (part.size() > 200) return "a name of more than 200 bytes";
    if (part.size() == path.size()) return nullptr;
    path.remove_prefix(part.size() + 1);
  }
}

}  // namespace

std::optional<ModelName> parse_model_name(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == text.npos) return std::nullopt;
  const std::string_view org = text.substr(0, slash), name = text.substr(slash + 1);
  if (!is_name_part(org) || !is_name_part(name)) return std::nullopt;
  return ModelName{std::string(org), std::string(name)};
}

void check_revision(std::string_view revision) {
  const bool words = std::ranges::all_of(revision, [](char c) { return is_word(c) || c == '/'; });
  if (!words || fault_of_path(revision) != nullptr || revision.find("..") != revision.npos)
    fail(Errc::usage, "--revision {}: expected a branch, a tag or a commit", json_quote(revision.substr(0, 100)));
}

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_commit(std::string_view text) { return is_hex(text, 40) || is_hex(text, 64); }

void check_repository_path(std::string_view path, std::string_view origin) {
  if (const char* fault = fault_of_path(path))
    fail(Errc::bad_file, "{}: file {}: found {}, expected a path inside the repository", origin,
         json_quote(path.substr(0, 100)), fault);
}

bool is_runtime_file(std::string_view path) {
  if (path.find('/') != path.npos || path.starts_with('.')) return false;
  return path.ends_with(".safetensors") || path.ends_with(".json") || path.ends_with(".jinja") || path == "merges.txt";
}

}  // namespace inkstone
