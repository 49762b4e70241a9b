#include "train/dataset.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/json_lines.h"
#include "base/mapped_file.h"

namespace inkstone {
namespace {

// Rendered and encoded, before it is cut to length.
struct Encoded {
  std::vector<int32_t> tokens;
  size_t prompt_tokens = 0;
};

// One line of the file. `where_` names it in errors.
class Line {
 public:
  Line(const Json& json, std::string where, const DatasetText& text, bool mask_prompt)
      : json_(json), where_(std::move(where)), text_(text), mask_prompt_(mask_prompt) {}

  Encoded encode() const {
    if (!json_.is_object()) fail(Errc::bad_file, "{}: found {}, expected an object", where_, json_.type_name());
    if (json_.find("prompt") != nullptr && json_.find("completion") != nullptr) return encode_completion();
    if (json_.find("messages") != nullptr) return encode_messages();
    if (json_.find("text") != nullptr) return encode_text();
    fail(Errc::bad_file, "{}: found {}, expected messages, prompt and completion, or text", where_, keys());
  }

 private:
  std::string keys() const {
    std::string list;
    for (const auto& [key, value] : json_.as_object()) {
      if (list.size() > 100) return list + ", ...";
      list += (list.empty() ? "the keys " : ", ") + key.substr(0, 40);
    }
    return list.empty() ? "no keys" : list;
  }

  [[noreturn]] void reject(std::string_view key, const Json& found, std::string_view expected) const {
    fail(Errc::bad_file, "{}: {}: found {}, expected {}", where_, key, found.type_name(), expected);
  }

  const std::string& string_of(std::string_view key) const {
    const Json& value = *json_.find(key);
    if (!value.is_string()) reject(key, value, "a string");
    if (value.as_string().empty()) fail(Errc::bad_file, "{}: {}: found nothing, expected a text", where_, key);
    return value.as_string();
  }

  Json kwargs() const {
    const Json* found = json_.find("chat_template_kwargs");
    if (found == nullptr || found->is_null()) return Json::Object();
    if (!found->is_object()) reject("chat_template_kwargs", *found, "an object");
    for (const char* ours : {"messages", "tools", "add_generation_prompt"})
      if (found->find(ours) != nullptr)
        fail(Errc::bad_file, "{}: chat_template_kwargs: {}: found, but it follows from the line itself", where_, ours);
    return *found;
  }

  Json tools() const {
    const Json* found = json_.find("tools");
    if (found == nullptr || found->is_null()) return {};
    if (!found->is_array()) reject("tools", *found, "a list");
    return *found;
  }

  Encoded encode_text() const {
    if (mask_prompt_)
      fail(Errc::unsupported,
           "{}: text: there is no prompt to mask; expected messages, or prompt and completion, "
           "with mask_prompt",
           where_);
    Encoded encoded;
    encoded.tokens = text_.tokenizer->encode(string_of("text"));
    if (text_.eos_token >= 0 && (encoded.tokens.empty() || encoded.tokens.back() != text_.eos_token))
      encoded.tokens.push_back(text_.eos_token);
    return encoded;
  }

  Encoded encode_completion() const {
    Json user, assistant;
    user["role"] = "user";
    user["content"] = string_of("prompt");
    assistant["role"] = "assistant";
    assistant["content"] = string_of("completion");
    return encode_chat(Json::Array{std::move(user), std::move(assistant)});
  }

  Encoded encode_messages() const {
    const Json& messages = *json_.find("messages");
    if (!messages.is_array()) reject("messages", messages, "a list");
    if (messages.as_array().empty()) fail(Errc::bad_file, "{}: messages: found none, expected at least one", where_);
    for (size_t i = 0; i < messages.as_array().size(); ++i)
      check_message(messages.as_array()[i], fmt::format("messages[{}]", i));
    const Json& last = messages.as_array().back();
    const Json* content = last.find("content");
    const bool says_something =
        content != nullptr && (content->is_string() ? !content->as_string().empty() : content->is_array());
    if (last.find("role")->as_string() == "assistant" && !says_something && last.find("tool_calls") == nullptr)
      fail(Errc::bad_file, "{}: messages: the last one, of the assistant, is empty: there is nothing to learn", where_);
    return encode_chat(messages);
  }

  void check_message(const Json& message, const std::string& name) const {
    if (!message.is_object()) reject(name, message, "an object with role and content");
    const Json* role = message.find("role");
    if (role == nullptr) fail(Errc::bad_file, "{}: {}: role: missing", where_, name);
    if (!role->is_string()) reject(name + ": role", *role, "a string");
    const Json* content = message.find("content");
    if (content != nullptr && !content->is_null() && !content->is_string() && !content->is_array())
      reject(name + ": content", *content, "a string");
    if (content == nullptr && message.find("tool_calls") == nullptr)
      fail(Errc::bad_file, "{}: {}: content: missing", where_, name);
  }

  MarkedText render(const Json& messages, bool add_generation_prompt) const {
    Json variables = kwargs();
    variables["add_generation_prompt"] = add_generation_prompt;
    try {
      return text_.chat_template->render(messages, tools(), variables);
    } catch (const Error& error) {
      if (error.code() != Errc::template_error) throw;
      fail(Errc::bad_file, "{}: the chat template refuses it: {}", where_, error.what());
    }
  }

  Encoded encode_chat(const Json& messages) const {
    if (text_.chat_template == nullptr)
      fail(Errc::bad_file, "{}: found a chat, but the model has no chat template; expected text", where_);
    Encoded encoded;
    encoded.tokens = text_.tokenizer->encode(render(messages, false));
    if (mask_prompt_) encoded.prompt_tokens = prompt_length(messages, encoded.tokens);
    return encoded;
  }

  size_t prompt_length(const Json& messages, const std::vector<int32_t>& tokens) const {
    Json::Array before = messages.as_array();
    const bool assistant = before.back().find("role")->as_string() == "assistant";
    before.pop_back();
    if (before.empty() && !assistant) return 0;
    const MarkedText prompt = render(before, assistant);
    // Templates that write earlier messages otherwise when another follows (Qwen's drop old thinking) still agree up to
    // there: what is common is the prompt.
    const std::vector<int32_t> ids = text_.tokenizer->encode(prompt);
    const auto differ = std::mismatch(ids.begin(), ids.end(), tokens.begin(), tokens.end());
    const size_t length = static_cast<size_t>(differ.second - tokens.begin());
    if (length == tokens.size())
      fail(Errc::bad_file, "{}: the completion is empty: all {} tokens belong to the prompt", where_, length);
    return length;
  }

  const Json& json_;
  std::string where_;
  const DatasetText& text_;
  bool mask_prompt_;
};

void add(Encoded&& encoded, const std::string& where, const DatasetText& text, const DatasetOptions& options,
         Dataset& dataset) {
  const size_t limit = static_cast<size_t>(options.max_seq_length);
  if (encoded.tokens.size() < 2)
    fail(Errc::bad_file, "{}: found {} tokens, expected at least 2", where, encoded.tokens.size());
  for (const int32_t token : encoded.tokens)
    if (token >= text.vocab_size)
      fail(Errc::bad_file, "{}: found token {}, expected one of the model's {}: tokenizer and model do not fit", where,
           token, text.vocab_size);
  dataset.longest = std::max(dataset.longest, static_cast<int64_t>(encoded.tokens.size()));
  if (encoded.prompt_tokens >= limit) {
    ++dataset.left_out;
    return;
  }
  if (encoded.tokens.size() > limit) {
    ++dataset.truncated;
    encoded.tokens.resize(limit);
    encoded.tokens.shrink_to_fit();
  }
  dataset.examples.push_back({std::move(encoded.tokens), static_cast<int>(encoded.prompt_tokens)});
}

}  // namespace

Dataset load_dataset(const std::filesystem::path& file, const DatasetText& text, const DatasetOptions& options) {
  CHECK(text.tokenizer != nullptr && options.max_seq_length >= 2);
  Dataset dataset;
  for_each_json_line(file, [&](const Json& json, const std::string& where) {
    add(Line(json, where, text, options.mask_prompt).encode(), where, text, options, dataset);
  });
  if (dataset.examples.empty() && dataset.left_out > 0)
    fail(Errc::bad_file, "{}: the prompts of all {} examples fill max_seq_length, {}: there is nothing to learn",
         file.string(), dataset.left_out, options.max_seq_length);
  if (dataset.examples.empty()) fail(Errc::bad_file, "{}: found no example, expected at least one", file.string());
  return dataset;
}

std::optional<int32_t> load_eos_token(const std::filesystem::path& model_folder, const Tokenizer& tokenizer) {
  const std::filesystem::path path = model_folder / "tokenizer_config.json";
  Json config;
  try {
    config = Json::parse(read_file(path, size_t{64} << 20), path.string());
  } catch (const Error& error) {
    if (error.code() == Errc::not_found) return std::nullopt;
    throw;
  }
  const Json* eos = config.find("eos_token");
  if (eos != nullptr && eos->is_object()) eos = eos->find("content");
  if (eos == nullptr || eos->is_null()) return std::nullopt;
  if (!eos->is_string())
    fail(Errc::bad_file, "{}: eos_token: found {}, expected a string", path.string(), eos->type_name());
  const std::optional<int32_t> id = tokenizer.id_of(eos->as_string());
  if (!id)
    fail(Errc::bad_file, "{}: eos_token: found {}, expected a token of tokenizer.json", path.string(),
         json_quote(eos->as_string()));
  return id;
}

}  // namespace inkstone
