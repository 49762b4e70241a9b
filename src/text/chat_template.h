// ChatTemplate: messages -> prompt by the Jinja template that a model publishes. Immutable after load, used from any
// thread. Rendering is bounded in steps and output, so that a hostile template ends with an error.
#pragma once

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "text/marked_text.h"

namespace inkstone {

struct RenderOptions {
  std::optional<std::tm> now;  // what strftime_now prints; absent: the local time
  int64_t max_steps = 0;       // 0: the default, about a second
  int64_t max_bytes = 0;       // of what the template holds and writes; 0: the default
};

class ChatTemplate {
 public:
  // chat_template.jinja, else "chat_template" of tokenizer_config.json (a string, or a list of {name, template}: the
  // one named "default"). Special tokens (bos_token, eos_token, ...) come from tokenizer_config.json.
  // Throws Error(not_found) if the folder has no template, Error(template_error) if it does not parse.
  static ChatTemplate load(const std::filesystem::path& folder);
  // What a tokenizer_config.json says: its template and special tokens. Throws as load() does.
  static ChatTemplate from_config(const Json& config, std::string_view origin);
  // `variables`: an object of what the template sees beside its arguments: the special tokens.
  static ChatTemplate parse(std::string_view source, const Json& variables, std::string_view origin);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // messages: an array; tools: an array or null; kwargs: an object of further variables (add_generation_prompt,
  // enable_thinking, ...): an absent one is undefined in the template.
  // Throws Error(template_error) with what the template raised.
  MarkedText render(const Json& messages, const Json& tools, const Json& kwargs) const;
  MarkedText render(const Json& messages, const Json& tools, const Json& kwargs, const RenderOptions& options) const;

  const std::string& source() const;

 private:
  struct State;
  explicit ChatTemplate(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace inkstone
