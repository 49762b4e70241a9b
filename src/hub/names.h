// Names that come from a user, a hub or another program's cache, checked before they become a path or a URL.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace inkstone {

// ORG/NAME of a model on a hub. Made by parse_model_name() only: both parts are safe as parts of a path.
struct ModelName {
  std::string org, name;

  std::string text() const { return org + "/" + name; }
  friend bool operator==(const ModelName&, const ModelName&) = default;
};

// Nothing where the text is not of the form that hubs allow: letters, digits, '-', '_' and '.', without "--" or "..",
// neither beginning nor ending with '-' or '.'.
std::optional<ModelName> parse_model_name(std::string_view text);

// A branch, a tag or a commit, safe as a path below refs/. Throws Error(usage).
void check_revision(std::string_view revision);

// Whether `text` is `digits` hexadecimal digits in lower case.
bool is_hex(std::string_view text, size_t digits);
// A commit as a hub names it: 40 (or 64) hexadecimal digits.
bool is_commit(std::string_view text);

// The path of a file in a repository: relative, no part empty, "." or "..", no backslash, no control character, of
// bounded length. Throws Error(bad_file) that names `origin`, who sent it.
void check_repository_path(std::string_view path, std::string_view origin);

// Whether a runtime needs this file: weights, JSON, merges.txt and chat templates of the top folder. Never code.
bool is_runtime_file(std::string_view path);

}  // namespace inkstone
