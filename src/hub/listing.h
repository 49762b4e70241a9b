// What a hub answers when asked for the files of a model. Believed in nothing: names, sizes and digests are checked
// here, before any of them is used.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hub/digest.h"

namespace inkstone {

struct RemoteFile {
  std::string path;  // checked by check_repository_path()
  uint64_t size = 0;
  DigestKind kind = DigestKind::sha256;
  std::string digest;  // 64 or 40 hexadecimal digits; Hugging Face's etag
};

struct Listing {
  std::string commit;             // empty where the hub names none for the whole (ModelScope)
  std::vector<RemoteFile> files;  // those that is_runtime_file() wants; paths differ
};

// {"sha": .., "siblings": [{"rfilename", "size", "blobId", "lfs": {"sha256", "size"}}]}. Throws Error(bad_file), and
// Error(unsupported) where the repository has no weights that we read.
Listing parse_huggingface_listing(std::string_view text, std::string_view origin);
// {"Code": 200, "Data": {"Files": [{"Path", "Size", "Sha256", "Type"}]}}.
Listing parse_modelscope_listing(std::string_view text, std::string_view origin);

}  // namespace inkstone
