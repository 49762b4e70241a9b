// GGUF files: whatever the bytes, the header parses or throws Error, tensors lie within the file, what it says becomes
// texts that our readers take or refuse, and every tensor repacks.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>

#include "base/error.h"
#include "format/generation_config.h"
#include "format/gguf_weights.h"
#include "format/model_files.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace {

using namespace inkstone;

template <class F>
void refuse(F&& call) {
  try {
    call();
  } catch (const Error& error) {
    if (error.code() == Errc::internal) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  bool parses = false;
  refuse([&] {
    for (const auto& [name, tensor] : parse_gguf(bytes, "fuzz").tensors)
      if (tensor.bytes.data() < bytes.data() || tensor.bytes.size() > bytes.size()) std::abort();
    parses = true;
  });
  if (!parses) return 0;
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("inkstone-fuzz-" + std::to_string(::getpid()) + ".gguf");
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  refuse([&] { load_model_config(path); });
  refuse([&] { load_generation_config(path); });
  refuse([&] { Tokenizer::parse(read_model_file(path, "tokenizer.json").value(), "fuzz"); });
  refuse([&] {
    ChatTemplate::from_config(Json::parse(read_model_file(path, "tokenizer_config.json").value(), "fuzz"), "fuzz");
  });
  refuse([&] {
    GgufWeights weights(path);
    for (const auto& [name, tensor] : weights.tensors()) refuse([&, key = name] { weights.load(key); });
  });
  std::filesystem::remove(path);
  return 0;
}
