#include "hub/cache.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.h"
#include "base/mapped_file.h"
#include "format/shards.h"
#include "hub/file_lock.h"

namespace inkstone {
namespace fs = std::filesystem;

namespace {

constexpr const char* kPrefix = "models--";

// The entries of a folder, sorted; none where it is no folder.
std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> list;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    list.push_back(it->path());
  std::ranges::sort(list);
  return list;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

// Where modelscope's own tools have kept a model, newest first.
std::vector<fs::path> modelscope_folders(const HubSettings& settings, const ModelName& name) {
  std::vector<fs::path> list;
  for (const fs::path& root : {settings.cache / "models", settings.cache, settings.cache / "hub"})
    for (const std::string& part : {replaced(name.name, ".", "___"), name.name}) list.push_back(root / name.org / part);
  return list;
}

// Each file of a snapshot must lie in the model's own folder, wherever links lead.
void check_links(const fs::path& folder, const fs::path& root) {
  std::error_code error;
  const fs::path inside = fs::canonical(root, error);
  for (const fs::path& entry : entries(folder)) {
    const fs::path target = fs::canonical(entry, error);
    if (error) continue;  // a link to nothing: the file is not there
    if (std::mismatch(inside.begin(), inside.end(), target.begin(), target.end()).first != inside.end())
      fail(Errc::bad_file, "{}: found a link to {}, expected one inside {}", entry.string(), target.string(),
           inside.string());
  }
}

bool is_link(const fs::path& path) {
  std::error_code error;
  return fs::is_symlink(path, error);
}

bool has_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

// "model-00001-of-00003.safetensors" speaks of three.
bool has_its_siblings(const fs::path& folder, const std::string& file) {
  constexpr std::string_view kOf = "-of-", kEnd = ".safetensors";
  const size_t of = file.rfind(kOf);
  if (of == file.npos || of < 6) return true;
  const std::string count_text = file.substr(of + kOf.size(), file.size() - of - kOf.size() - kEnd.size());
  int count = 0;
  const auto [end, error] = std::from_chars(count_text.data(), count_text.data() + count_text.size(), count);
  if (error != std::errc() || end != count_text.data() + count_text.size() || count > 10000) return true;
  for (int i = 1; i <= count; ++i)
    if (!has_file(folder / fmt::format("{}{:05}{}", file.substr(0, of - 5), i, file.substr(of)))) return false;
  return true;
}

void measure(CachedModel& model) {
  for (const fs::path& entry : entries(model.folder)) {
    struct stat info;
    if (::stat(entry.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    model.bytes += static_cast<uint64_t>(info.st_size);
    model.modified = std::max<int64_t>(model.modified, info.st_mtime);
  }
  model.complete = is_complete(model.folder);
}

std::vector<CachedModel> list_huggingface(const HubSettings& settings) {
  std::vector<CachedModel> list;
  for (const fs::path& folder : entries(settings.cache)) {
    const std::string text = folder.filename().string();
    if (!text.starts_with(kPrefix)) continue;
    const size_t split = text.find("--", std::string_view(kPrefix).size());
    if (split == text.npos) continue;
    const std::string org = text.substr(std::string_view(kPrefix).size(), split - std::string_view(kPrefix).size());
    const std::optional<ModelName> name = parse_model_name(org + "/" + text.substr(split + 2));
    if (!name || is_link(folder)) continue;
    for (const fs::path& snapshot : entries(folder / "snapshots")) {
      CachedModel model;
      model.name = *name;
      model.commit = snapshot.filename().string();
      model.folder = snapshot;
      if (!is_commit(model.commit) || is_link(snapshot)) continue;
      for (const fs::path& ref : entries(folder / "refs"))
        if (cached_commit(folder, ref.filename().string()) == model.commit)
          model.refs.push_back(ref.filename().string());
      measure(model);
      list.push_back(std::move(model));
    }
  }
  return list;
}

std::vector<CachedModel> list_modelscope(const HubSettings& settings) {
  std::vector<CachedModel> list;
  std::set<std::string> seen;
  for (const fs::path& root : {settings.cache / "models", settings.cache, settings.cache / "hub"})
    for (const fs::path& org : entries(root))
      for (const fs::path& folder : entries(org)) {
        const std::string part = replaced(folder.filename().string(), "___", ".");
        const std::optional<ModelName> name = parse_model_name(org.filename().string() + "/" + part);
        if (!name || is_link(folder) || !has_file(folder / "config.json")) continue;
        if (!seen.insert(name->text()).second) continue;
        CachedModel model;
        model.name = *name;
        model.hub = Hub::modelscope;
        model.folder = folder;
        measure(model);
        list.push_back(std::move(model));
      }
  return list;
}

}  // namespace

fs::path model_folder(const HubSettings& settings, const ModelName& name) {
  if (settings.hub == Hub::huggingface) return settings.cache / fmt::format("{}{}--{}", kPrefix, name.org, name.name);
  const std::vector<fs::path> folders = modelscope_folders(settings, name);
  const auto found =
      std::ranges::find_if(folders, [](const fs::path& folder) { return has_file(folder / "config.json"); });
  return found == folders.end() ? folders.front() : *found;
}

fs::path model_lock(const HubSettings& settings, const ModelName& name) {
  if (settings.hub == Hub::modelscope) return settings.cache / ".lock" / (name.org + "___" + name.name);
  return settings.cache / ".locks" / fmt::format("{}{}--{}", kPrefix, name.org, name.name) / "inkstone.lock";
}

std::optional<std::string> cached_commit(const fs::path& model_folder, const std::string& revision) {
  if (is_commit(revision)) return revision;
  const fs::path ref = model_folder / "refs" / revision;
  if (!has_file(ref)) return std::nullopt;
  std::string commit = read_file(ref, 1024);
  while (commit.ends_with('\n')) commit.pop_back();
  return is_commit(commit) ? std::optional(commit) : std::nullopt;
}

bool is_complete(const fs::path& folder) {
  if (!has_file(folder / "config.json") || !has_file(folder / "tokenizer.json")) return false;
  const fs::path index = folder / "model.safetensors.index.json";
  if (has_file(index)) {
    try {
      for (const auto& [tensor, file] : parse_shard_index(read_file(index, size_t{64} << 20), index.string()))
        if (!has_file(folder / file)) return false;
    } catch (const Error&) {  // damaged: for who opens the model to say, and no reason to list no other
    }
    return true;
  }
  bool weights = false;
  for (const fs::path& entry : entries(folder)) {
    if (entry.extension() != ".safetensors" || !has_file(entry)) continue;
    weights = true;
    if (!has_its_siblings(folder, entry.filename().string())) return false;
  }
  return weights;
}

std::optional<fs::path> find_model(const HubSettings& settings, const ModelName& name, const std::string& revision) {
  if (!revision.empty()) check_revision(revision);
  // ModelScope's layout does not say which revision is there.
  if (settings.hub == Hub::modelscope && !revision.empty() && revision != settings.default_revision())
    return std::nullopt;
  fs::path root = model_folder(settings, name), folder = root;
  if (settings.hub == Hub::huggingface) {
    const auto commit = cached_commit(root, revision.empty() ? settings.default_revision() : revision);
    if (!commit) return std::nullopt;
    folder = root / "snapshots" / *commit;
  }
  check_links(folder, root);
  if (!is_complete(folder)) return std::nullopt;
  return folder;
}

std::vector<CachedModel> list_models(const HubSettings& settings) {
  return settings.hub == Hub::huggingface ? list_huggingface(settings) : list_modelscope(settings);
}

bool remove_model(const HubSettings& settings, const ModelName& name) {
  const fs::path folder = model_folder(settings, name);
  if (is_link(folder))
    fail(Errc::bad_file, "{}: found a link, expected the model's own folder: nothing was removed", folder.string());
  std::error_code error;
  if (!fs::is_directory(folder, error)) return false;
  std::vector<FileLock> locks;
  std::vector<fs::path> paths{model_lock(settings, name)};
  if (settings.hub == Hub::huggingface)  // those of other tools, one a file
    for (const fs::path& path : entries(paths.front().parent_path()))
      if (path.extension() == ".lock" && path != paths.front()) paths.push_back(path);
  for (const fs::path& path : paths) {
    std::optional<FileLock> lock = FileLock::try_take(path);
    if (!lock) fail(Errc::io, "{}: another process is fetching it: nothing was removed", name.text());
    locks.push_back(std::move(*lock));
  }
  // What makes it a model goes first: a removal that is cut short leaves nothing that looks whole. Links are removed as
  // links.
  const auto remove = [&error](const fs::path& path) {
    fs::remove_all(path, error);
    if (error) fail(Errc::io, "{}: cannot remove: {}", path.string(), error.message());
  };
  for (const char* part : {"refs", "config.json", "snapshots"}) remove(folder / part);
  remove(folder);
  if (settings.hub == Hub::modelscope) remove(settings.cache / "models" / "._____temp" / name.org / name.name);
  return true;
}

}  // namespace inkstone
