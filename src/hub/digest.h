// The digests by which hubs name what they hold: sha256 of large files, and git's blob id (SHA-1) of small ones. Fed in
// pieces. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace inkstone {

enum class DigestKind { sha256, git_blob };

class Digest {
 public:
  // git's blob id begins with the length, so it must be known.
  Digest(DigestKind kind, uint64_t size);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void update(std::span<const std::byte> bytes);
  // In hexadecimal; the last call.
  std::string finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// Of a whole file; empty where `cancelled` says so meanwhile.
std::string file_digest(const std::filesystem::path& path, DigestKind kind, const std::function<bool()>& cancelled);

}  // namespace inkstone
