#include "hub/listing.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "hub/names.h"

namespace inkstone {
namespace {

constexpr int64_t kLargestFile = int64_t{1} << 42;
constexpr size_t kMostFiles = 2000;  // that a runtime needs; the largest published model has some hundreds

const Json& member(const Json& object, std::string_view key, bool (Json::*is)() const, const char* expected,
                   std::string_view origin) {
  const Json* value = object.find(key);
  if (value == nullptr || !(value->*is)())
    fail(Errc::bad_file, "{}: {}: found {}, expected {}", origin, key,
         value == nullptr ? "nothing" : value->type_name(), expected);
  return *value;
}

uint64_t size_of(const Json& entry, std::string_view key, const std::string& where) {
  const int64_t size = member(entry, key, &Json::is_int, "an integer", where).as_int();
  if (size < 0 || size > kLargestFile)
    fail(Errc::bad_file, "{}: {}: found {}, expected 0 to {} bytes", where, key, size, kLargestFile);
  return static_cast<uint64_t>(size);
}

void take(Listing& listing, RemoteFile file, const std::string& where) {
  const size_t digits = file.kind == DigestKind::sha256 ? 64 : 40;
  if (!is_hex(file.digest, digits))
    fail(Errc::bad_file, "{}: digest: found {}, expected {} hexadecimal digits", where,
         json_quote(file.digest.substr(0, 100)), digits);
  listing.files.push_back(std::move(file));
  if (listing.files.size() > kMostFiles)
    fail(Errc::bad_file, "{}: found more than {} files to fetch", where, kMostFiles);
}

void check(const Listing& listing, std::string_view origin) {
  std::set<std::string_view> names;
  for (const RemoteFile& file : listing.files)
    if (!names.insert(file.path).second) fail(Errc::bad_file, "{}: found {} twice", origin, json_quote(file.path));
  if (std::ranges::none_of(names, [](std::string_view name) { return name.ends_with(".safetensors"); }))
    fail(Errc::unsupported, "{}: found no *.safetensors in this repository, expected a model in MLX format", origin);
}

}  // namespace

Listing parse_huggingface_listing(std::string_view text, std::string_view origin) {
  const Json json = Json::parse(text, origin);
  Listing listing;
  listing.commit = member(json, "sha", &Json::is_string, "a string", origin).as_string();
  if (!is_commit(listing.commit))
    fail(Errc::bad_file, "{}: sha: found {}, expected a commit of 40 hexadecimal digits", origin,
         json_quote(listing.commit.substr(0, 100)));
  for (const Json& entry : member(json, "siblings", &Json::is_array, "an array", origin).as_array()) {
    RemoteFile file;
    file.path = member(entry, "rfilename", &Json::is_string, "a string", origin).as_string();
    check_repository_path(file.path, origin);
    if (!is_runtime_file(file.path)) continue;
    const std::string where = fmt::format("{}: {}", origin, file.path);
    const Json* lfs = entry.find("lfs");
    if (lfs != nullptr && !lfs->is_null()) {
      file.digest = member(*lfs, "sha256", &Json::is_string, "a string", where).as_string();
      file.size = size_of(*lfs, "size", where);
    } else {
      file.kind = DigestKind::git_blob;
      file.digest = member(entry, "blobId", &Json::is_string, "a string", where).as_string();
      file.size = size_of(entry, "size", where);
    }
    take(listing, std::move(file), where);
  }
  check(listing, origin);
  return listing;
}

Listing parse_modelscope_listing(std::string_view text, std::string_view origin) {
  const Json json = Json::parse(text, origin);
  if (const Json* code = json.find("Code"); code != nullptr && *code != Json(200)) {
    const Json* message = json.find("Message");
    fail(Errc::not_found, "{}: the hub says: {} {}", origin, code->dump(),
         message != nullptr && message->is_string() ? message->as_string().substr(0, 300) : "");
  }
  Listing listing;
  const Json& data = member(json, "Data", &Json::is_object, "an object", origin);
  for (const Json& entry : member(data, "Files", &Json::is_array, "an array", origin).as_array()) {
    if (const Json* type = entry.find("Type"); type != nullptr && *type == Json("tree")) continue;
    RemoteFile file;
    file.path = member(entry, "Path", &Json::is_string, "a string", origin).as_string();
    check_repository_path(file.path, origin);
    if (!is_runtime_file(file.path)) continue;
    const std::string where = fmt::format("{}: {}", origin, file.path);
    file.digest = member(entry, "Sha256", &Json::is_string, "a string", where).as_string();
    std::ranges::transform(file.digest, file.digest.begin(),
                           [](char c) { return c >= 'A' && c <= 'F' ? char(c + 32) : c; });
    file.size = size_of(entry, "Size", where);
    take(listing, std::move(file), where);
  }
  check(listing, origin);
  return listing;
}

}  // namespace inkstone
