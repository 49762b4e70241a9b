// Fetches files of known size and digest, several at once. Each grows in a partial file that a later call, or another
// tool of the hub, goes on with; it gets its name only when its digest is right. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "hub/listing.h"

namespace inkstone {

struct Fetch {
  RemoteFile file;
  std::string url;
  std::filesystem::path part;  // partial bytes
  std::filesystem::path done;  // where the file goes when it is whole; already there: nothing to fetch
  std::filesystem::path lock;  // held meanwhile; empty: the caller excludes others
};

struct FetchOptions {
  std::vector<std::string> headers;  // for the hub itself, not for those it sends on to
  int retries = 8;                   // tries after one that brought nothing, with growing pauses
  std::function<bool()> cancelled;
  std::function<void(uint64_t done, uint64_t total)> on_progress;  // bytes of all files
};

// Returns the bytes that came over the network. Throws Error(io): disk full, no connection; Error(not_found): 404, or
// refused; Error(bad_file): not what was announced; Error(interrupted). What came before an error is kept.
uint64_t fetch_files(const std::vector<Fetch>& files, const FetchOptions& options);

// A small answer as text, at most `limit` bytes; `what` names it in errors. Tries again as fetch_files() does.
std::string fetch_text(const std::string& url, size_t limit, const std::string& what, const FetchOptions& options);

}  // namespace inkstone
