#include "hub/pull.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "base/error.h"
#include "format/atomic_file.h"
#include "hub/cache.h"
#include "hub/file_lock.h"
#include "hub/http.h"

namespace inkstone {
namespace fs = std::filesystem;

namespace {

constexpr size_t kLargestListing = size_t{32} << 20;

FileLock take_lock(const fs::path& path, const PullOptions& options) {
  while (true) {
    if (std::optional<FileLock> lock = FileLock::try_take(path)) return std::move(*lock);
    if (options.cancelled && options.cancelled()) fail(Errc::interrupted, "interrupted: nothing was fetched");
    if (options.on_wait) options.on_wait();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

// Makes a folder of the cache. A link in its place could lead anywhere.
void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(Errc::io, "{}: cannot make the folder: {}", folder.string(), error.message());
  if (fs::is_symlink(folder, error)) fail(Errc::bad_file, "{}: found a link, expected a folder", folder.string());
}

class Pull {
 public:
  Pull(const HubSettings& settings, const ModelName& name, const PullOptions& options)
      : settings_(settings), name_(name), options_(options), folder_(model_folder(settings, name)) {
    revision_ = options.revision.empty() ? settings.default_revision() : options.revision;
    check_revision(revision_);
    fetch_.retries = options.retries;
    fetch_.cancelled = options.cancelled;
    fetch_.on_progress = options.on_progress;
    if (settings.token.empty()) return;
    fetch_.headers.push_back("Authorization: Bearer " + settings.token);
    if (is_modelscope()) fetch_.headers.push_back("Cookie: m_session_id=" + settings.token);
  }

  Pulled run() {
    const Listing listing = fetch_listing();
    if (is_commit(revision_) && !listing.commit.empty() && listing.commit != revision_)
      fail(Errc::bad_file, "{}: found commit {}, expected {}", name_.text(), listing.commit, revision_);
    const FileLock lock = take_lock(model_lock(settings_, name_), options_);
    const std::vector<Fetch> files = is_modelscope() ? modelscope_files(listing) : huggingface_files(listing);
    Pulled pulled;
    pulled.commit = listing.commit;
    for (const RemoteFile& file : listing.files) pulled.bytes += file.size;
    const uint64_t missing = missing_bytes(files);
    if (options_.on_plan) options_.on_plan(listing.files.size(), pulled.bytes, missing);
    check_space(missing);
    pulled.received = fetch_files(files, fetch_);
    pulled.folder = is_modelscope() ? publish_modelscope(listing, files) : publish_huggingface(listing, files);
    return pulled;
  }

 private:
  bool is_modelscope() const { return settings_.hub == Hub::modelscope; }

  Listing fetch_listing() {
    const std::string models =
        settings_.endpoint + (is_modelscope() ? "/api/v1/models/" : "/api/models/") + name_.text();
    const std::string revision = percent_encoded(revision_);
    const std::string url = is_modelscope() ? fmt::format("{}/repo/files?Revision={}&Recursive=true", models, revision)
                                            : fmt::format("{}/revision/{}?blobs=true", models, revision);
    const std::string what = fmt::format("{} at {}", name_.text(), settings_.endpoint);
    const std::string text = fetch_text(url, kLargestListing, what, fetch_);
    return is_modelscope() ? parse_modelscope_listing(text, what) : parse_huggingface_listing(text, what);
  }

  std::vector<Fetch> huggingface_files(const Listing& listing) {
    const fs::path blobs = folder_ / "blobs", locks = model_lock(settings_, name_).parent_path();
    make_folder(folder_);
    make_folder(blobs);
    std::vector<Fetch> files;
    for (const RemoteFile& file : listing.files)
      files.push_back({.file = file,
                       .url = fmt::format("{}/{}/resolve/{}/{}", settings_.endpoint, name_.text(), listing.commit,
                                          percent_encoded(file.path)),
                       .part = blobs / (file.digest + ".incomplete"),
                       .done = blobs / file.digest,
                       .lock = locks / (file.digest + ".lock")});
    return files;
  }

  std::vector<Fetch> modelscope_files(const Listing& listing) {
    const fs::path temporary = settings_.cache / "models" / "._____temp" / name_.org / name_.name;
    make_folder(folder_);
    make_folder(temporary);
    std::vector<Fetch> files;
    for (const RemoteFile& file : listing.files)
      files.push_back({.file = file,
                       .url = fmt::format("{}/api/v1/models/{}/repo?Revision={}&FilePath={}", settings_.endpoint,
                                          name_.text(), percent_encoded(revision_), percent_encoded(file.path)),
                       .part = temporary / (file.path + ".incomplete"),
                       .done = temporary / file.path,
                       .lock = {}});
    std::erase_if(files, [this](const Fetch& file) { return is_right(file); });
    return files;
  }

  // The layout says nothing of digests: what is there is read again. What an earlier call left of another revision in
  // the temporary folder goes.
  bool is_right(const Fetch& file) const {
    const auto matches = [&](const fs::path& path) {
      std::error_code error;
      return !fs::is_symlink(path, error) && fs::is_regular_file(path, error) &&
             fs::file_size(path, error) == file.file.size &&
             file_digest(path, file.file.kind, options_.cancelled) == file.file.digest;
    };
    std::error_code error;
    if (fs::exists(file.done, error) && !matches(file.done)) fs::remove(file.done, error);
    return matches(folder_ / file.file.path);
  }

  static uint64_t missing_bytes(const std::vector<Fetch>& files) {
    uint64_t missing = 0;
    std::error_code error;
    for (const Fetch& file : files) {
      if (fs::is_regular_file(file.done, error) && fs::file_size(file.done, error) == file.file.size) continue;
      const uint64_t part = fs::is_regular_file(file.part, error) ? fs::file_size(file.part, error) : 0;
      missing += part <= file.file.size ? file.file.size - part : file.file.size;
    }
    return missing;
  }

  void check_space(uint64_t missing) const {
    std::error_code error;
    const fs::space_info space = fs::space(folder_, error);
    if (!error && space.available < missing)
      fail(Errc::io, "{}: disk full: {} bytes needed, {} available", settings_.cache.string(), missing,
           space.available);
  }

  // Links to the blobs, then the name of the revision: who finds the name finds all files.
  fs::path publish_huggingface(const Listing& listing, const std::vector<Fetch>& files) {
    const fs::path snapshot = folder_ / "snapshots" / listing.commit;
    make_folder(folder_ / "snapshots");
    make_folder(snapshot);
    for (const Fetch& file : files) {
      const fs::path link = snapshot / file.file.path, target = fs::path("../../blobs") / file.file.digest;
      std::error_code error;
      if (fs::is_symlink(link, error) && fs::read_symlink(link, error) == target) continue;
      const fs::path temporary = snapshot / fmt::format(".{}.{}", file.file.digest, ::getpid());
      fs::remove(temporary, error);
      fs::create_symlink(target, temporary, error);
      if (!error) fs::rename(temporary, link, error);
      if (error) fail(Errc::io, "{}: cannot make the link: {}", link.string(), error.message());
    }
    if (revision_ != listing.commit) {
      const fs::path ref = folder_ / "refs" / revision_;
      make_folder(folder_ / "refs");
      make_folder(ref.parent_path());
      if (cached_commit(folder_, revision_) != listing.commit) write_file_atomically(ref, listing.commit);
    }
    return snapshot;
  }

  // Without config.json the folder counts as no model: while anything changes it is away, and it comes back last. What
  // this revision does not have goes: an older one's index or shards would be read with it.
  fs::path publish_modelscope(const Listing& listing, const std::vector<Fetch>& files) {
    const auto is_listed = [&](const std::string& path) {
      return std::ranges::find(listing.files, path, &RemoteFile::path) != listing.files.end();
    };
    std::vector<fs::path> stale;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder_, error))
      if (const std::string path = entry.path().filename(); is_runtime_file(path) && !is_listed(path))
        stale.push_back(entry.path());
    if (files.empty() && stale.empty()) return folder_;
    const std::string config = "config.json";
    const fs::path temporary = settings_.cache / "models" / "._____temp" / name_.org / name_.name;
    const auto move = [&](const fs::path& from, const fs::path& to) {
      fs::rename(from, to, error);
      if (error) fail(Errc::io, "{}: cannot write: {}", to.string(), error.message());
    };
    if (std::ranges::any_of(files, [&](const Fetch& file) { return file.file.path == config; }))
      fs::remove(folder_ / config, error);
    else if (is_listed(config))
      move(folder_ / config, temporary / config);
    for (const fs::path& path : stale) fs::remove(path, error);
    for (const Fetch& file : files)
      if (file.file.path != config) move(file.done, folder_ / file.file.path);
    if (is_listed(config)) move(temporary / config, folder_ / config);
    fs::remove_all(temporary, error);
    return folder_;
  }

  const HubSettings& settings_;
  const ModelName& name_;
  const PullOptions& options_;
  fs::path folder_;
  std::string revision_;
  FetchOptions fetch_;
};

}  // namespace

Pulled pull_model(const HubSettings& settings, const ModelName& name, const PullOptions& options) {
  if (settings.offline)
    fail(Errc::not_found, "{}: not in the cache, and nothing is fetched: HF_HUB_OFFLINE is set, or --offline given",
         name.text());
  return Pull(settings, name, options).run();
}

}  // namespace inkstone
