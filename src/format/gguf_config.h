// What a GGUF file says beside its weights, as the text files of a model folder: config.json, generation_config.json,
// tokenizer.json and tokenizer_config.json, so that whatever reads or copies those reads and copies these.
// docs/gguf.md has the keys. Pure functions. Private to the format room.
#pragma once

#include <string>
#include <vector>

#include "format/gguf.h"

namespace inkstone {

// The configuration of the plain model: without "quantization", for which MLX has no words in every case
// (set_gguf_quantization says it). Throws Error(unsupported) for another architecture, and for a key of this one that
// we do not know: it could change what is computed.
std::string gguf_config_json(const std::vector<Gguf>& files);
std::string gguf_generation_config_json(const std::vector<Gguf>& files);

// The tokenizer that the published tokenizer.json has. Throws Error(unsupported) for one of another kind.
std::string gguf_tokenizer_json(const std::vector<Gguf>& files);
// Special tokens and the chat template.
std::string gguf_tokenizer_config_json(const std::vector<Gguf>& files);

}  // namespace inkstone
