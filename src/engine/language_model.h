// LanguageModel: everything that a model folder, or a GGUF file, gives, opened once: device, weights, tokenizer, chat
// template and generation defaults. Owns all of it. The tokenizer and the template may be used from any thread, the
// model from one.
#pragma once

#include <filesystem>
#include <future>
#include <memory>
#include <optional>

#include "device/device.h"
#include "format/checkpoint.h"
#include "format/generation_config.h"
#include "model/model.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace inkstone {

struct LoadOptions {
  DeviceOptions device;
  std::optional<std::filesystem::path> adapter;  // an adapter folder as mlx_lm writes it
};

// The tokenizer of a model folder or a GGUF file.
Tokenizer load_tokenizer(const std::filesystem::path& model);

class LanguageModel {
 public:
  // The smallest context worth opening a model for when the caller names none.
  static constexpr int kLeastContext = 2048;

  // Throws Error with the file, the object, what was found and what was expected.
  LanguageModel(const std::filesystem::path& folder, const LoadOptions& options);

  const std::filesystem::path& folder() const { return checkpoint_.folder(); }
  const ModelConfig& config() const { return config_; }
  const GenerationConfig& generation_config() const { return generation_config_; }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  // Throws Error(not_found) if the folder has none.
  const ChatTemplate& chat_template() const;
  bool has_chat_template() const { return chat_template_.has_value(); }
  Device& device() const { return *device_; }
  Model& model() const { return *model_; }

  // End-of-sequence ids: generation_config.json's, else config.json's.
  const std::vector<int32_t>& stop_tokens() const { return stop_tokens_; }

  // The context size to use: `wanted` (0: the model's own maximum, as far as memory reaches). Throws
  // Error(context_length) beyond the model's maximum. Where weights, KV and activations do not fit in this machine's
  // memory, the model keeps what fits beside the latter and reads the rest from its file (model().residency() says so);
  // Error(out_of_memory) where not even that is possible.
  int context_size(int wanted) const;

 private:
  LanguageModel(const std::filesystem::path& folder, const LoadOptions& options, std::future<Tokenizer> tokenizer);

  Checkpoint checkpoint_;
  ModelConfig config_;
  GenerationConfig generation_config_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Model> model_;
  Tokenizer tokenizer_;
  std::optional<ChatTemplate> chat_template_;
  std::vector<int32_t> stop_tokens_;
};

}  // namespace inkstone
