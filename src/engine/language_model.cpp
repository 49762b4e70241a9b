#include "engine/language_model.h"

#include <algorithm>

#include "base/system.h"
#include "engine/generator.h"
#include "format/gguf.h"
#include "format/model_files.h"
#include "model/lora.h"
#include "model/workspace.h"

namespace inkstone {
namespace {

std::optional<ChatTemplate> load_template(const std::filesystem::path& model) {
  try {
    if (!is_gguf(model)) return ChatTemplate::load(model);
    const std::string origin = model_file_origin(model, "tokenizer_config.json");
    return ChatTemplate::from_config(Json::parse(read_model_file(model, "tokenizer_config.json").value(), origin),
                                     origin);
  } catch (const Error& error) {
    if (error.code() == Errc::not_found) return std::nullopt;  // a base model: generate works, chat says what lacks
    throw;
  }
}

}  // namespace

Tokenizer load_tokenizer(const std::filesystem::path& model) {
  if (!is_gguf(model)) return Tokenizer::load(model);
  return Tokenizer::parse(read_model_file(model, "tokenizer.json").value(), model_file_origin(model, "tokenizer.json"));
}

// The tokenizer takes about as long to read as the model: a thread of its own reads it meanwhile.
LanguageModel::LanguageModel(const std::filesystem::path& folder, const LoadOptions& options)
    : LanguageModel(folder, options, std::async(std::launch::async, [folder] { return load_tokenizer(folder); })) {}

LanguageModel::LanguageModel(const std::filesystem::path& folder, const LoadOptions& options,
                             std::future<Tokenizer> tokenizer)
    : checkpoint_(folder),
      config_(load_model_config(folder)),
      generation_config_(load_generation_config(folder)),
      device_(open_device(options.device)),
      model_(load_model(checkpoint_, config_, *device_)),
      tokenizer_(tokenizer.get()),
      chat_template_(load_template(folder)) {
  if (options.adapter) attach_adapter(*model_, *options.adapter);
  const auto& ids = generation_config_.eos_token_ids.empty() ? config_.eos_token_ids : generation_config_.eos_token_ids;
  stop_tokens_.assign(ids.begin(), ids.end());
}

const ChatTemplate& LanguageModel::chat_template() const {
  if (!chat_template_)
    fail(Errc::not_found,
         "{}: no chat template: expected chat_template.jinja or chat_template in tokenizer_config.json",
         folder().string());
  return *chat_template_;
}

int LanguageModel::context_size(int wanted) const {
  const int maximum = config_.max_position_embeddings;
  if (wanted > maximum)
    fail(Errc::context_length, "--ctx-size {}: expected at most the model's max_position_embeddings, {}", wanted,
         maximum);
  // Weights that were repacked are in memory already: they count on both sides.
  const uint64_t available = memory_info().available + checkpoint_.owned_bytes();
  const uint64_t weights = checkpoint_.bytes();
  const uint64_t activations = workspace_bytes(*device_, config_, Generator::kChunkTokens, 1);
  const uint64_t per_token = static_cast<uint64_t>(KvCache::bytes_per_token(config_, device_->kv_format()));
  const uint64_t least = static_cast<uint64_t>(wanted > 0 ? wanted : std::min(maximum, kLeastContext));
  const uint64_t beside = activations + least * per_token;
  if (weights + beside <= available) {
    if (wanted > 0) return wanted;
    const uint64_t room = (available - weights - activations) / per_token;
    return static_cast<int>(std::min<uint64_t>(static_cast<uint64_t>(maximum), room));
  }
  const uint64_t spare = available / 16;  // page tables, and what others will want
  if (checkpoint_.owned_bytes() > 0)
    fail(
        Errc::out_of_memory,
        "{}: weights {:.2f} GB, activations and a context of {} tokens {:.2f} GB: found {:.2f} GB of memory available. "
        "Quantised weights of a GGUF can't be read as they are needed; those of a folder in MLX format can",
        folder().string(), static_cast<double>(weights) / 1e9, least, static_cast<double>(beside) / 1e9,
        static_cast<double>(available) / 1e9);
  if (available < beside + spare || !model_->limit_weights(checkpoint_, available - beside - spare))
    fail(
        Errc::out_of_memory,
        "{}: weights {:.2f} GB, activations and a context of {} tokens {:.2f} GB: found {:.2f} GB of memory available, "
        "too little even to read the weights from the file as they are needed",
        folder().string(), static_cast<double>(weights) / 1e9, least, static_cast<double>(beside) / 1e9,
        static_cast<double>(available) / 1e9);
  return static_cast<int>(least);
}

}  // namespace inkstone
