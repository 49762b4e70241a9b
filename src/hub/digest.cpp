#include "hub/digest.h"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/error.h"
#include "base/mapped_file.h"

namespace inkstone {

struct Digest::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

Digest::Digest(DigestKind kind, uint64_t size) : context_(std::make_unique<Context>()) {
  CHECK(context_->evp != nullptr);
  CHECK(EVP_DigestInit_ex(context_->evp, kind == DigestKind::sha256 ? EVP_sha256() : EVP_sha1(), nullptr) == 1);
  if (kind == DigestKind::sha256) return;
  const std::string header = fmt::format("blob {}", size);
  update(std::as_bytes(std::span(header.c_str(), header.size() + 1)));  // with the NUL
}

Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(std::span<const std::byte> bytes) {
  CHECK(EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) == 1);
}

std::string Digest::finish() {
  unsigned char value[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  CHECK(EVP_DigestFinal_ex(context_->evp, value, &size) == 1);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", value[i]);
  return hex;
}

std::string file_digest(const std::filesystem::path& path, DigestKind kind, const std::function<bool()>& cancelled) {
  const MappedFile file(path);
  Digest digest(kind, file.bytes().size());
  for (std::span<const std::byte> rest = file.bytes(); !rest.empty();) {
    if (cancelled && cancelled()) return {};
    const size_t size = std::min<size_t>(rest.size(), size_t{16} << 20);
    digest.update(rest.first(size));
    rest = rest.subspan(size);
  }
  return digest.finish();
}

}  // namespace inkstone
