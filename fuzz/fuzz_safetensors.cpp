// Headers of safetensors files: whatever the bytes, they parse or throw Error, and views lie within them.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/error.h"
#include "format/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  try {
    const auto header = inkstone::parse_safetensors({begin, size}, "fuzz");
    size_t total = 0;
    for (const auto& [name, tensor] : header.tensors) {
      if (tensor.data < begin || tensor.bytes() > size - static_cast<size_t>(tensor.data - begin)) std::abort();
      total += tensor.bytes();
    }
    if (total > size) std::abort();  // ranges overlap
  } catch (const inkstone::Error& error) {
    if (error.code() == inkstone::Errc::internal) std::abort();
  }
  return 0;
}
