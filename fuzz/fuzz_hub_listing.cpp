// What a hub answers to the question for a model's files. Whatever the bytes, they parse or throw Error, and what
// parses can be no path outside a folder, no digest with a slash in it and no name twice.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string_view>

#include "base/error.h"
#include "hub/listing.h"
#include "hub/names.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace inkstone;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto parse : {parse_huggingface_listing, parse_modelscope_listing}) {
    try {
      const Listing listing = parse(text, "fuzz");
      std::set<std::string> seen;
      for (const RemoteFile& file : listing.files) {
        if (file.path.find('/') != file.path.npos || file.path.starts_with('.') || !seen.insert(file.path).second)
          std::abort();
        if (!is_hex(file.digest, file.kind == DigestKind::sha256 ? 64 : 40)) std::abort();
      }
      if (!listing.commit.empty() && !is_commit(listing.commit)) std::abort();
    } catch (const Error& error) {
      if (error.code() == Errc::internal) std::abort();
    }
  }
  return 0;
}
