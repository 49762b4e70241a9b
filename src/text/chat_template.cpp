#include "text/chat_template.h"

#include <string>
#include <utility>

#include "base/embedded.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "text/jinja/ast.h"
#include "text/jinja/interpreter.h"

namespace inkstone {
namespace {

// A template with its configuration has kilobytes.
std::string file_text(const std::filesystem::path& path) { return read_file(path, size_t{16} << 20); }

// The special tokens that transformers hands to a template: each a string, or {"content": string, ...}.
Json special_tokens(const Json& config) {
  static constexpr const char* kNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                           "pad_token", "cls_token", "mask_token"};
  const auto content = [](const Json& token) -> const Json* {
    const Json* text = token.is_object() ? token.find("content") : &token;
    return text && text->is_string() ? text : nullptr;
  };
  Json variables = Json::Object();
  for (const char* name : kNames)
    if (const Json* token = config.find(name))
      if (const Json* text = content(*token)) variables[name] = *text;
  const Json* additional = config.find("additional_special_tokens");
  if (additional && additional->is_array()) {
    Json::Array tokens;
    for (const Json& token : additional->as_array())
      if (const Json* text = content(token)) tokens.push_back(*text);
    variables["additional_special_tokens"] = Json(std::move(tokens));
  }
  return variables;
}

// "chat_template" of a tokenizer_config.json: a string, or the one named "default" of a list.
const std::string* template_of(const Json& config, const std::string& origin) {
  const Json* found = config.find("chat_template");
  if (!found || found->is_null()) return nullptr;
  if (found->is_string()) return &found->as_string();
  if (!found->is_array())
    fail(Errc::bad_file, "{}: chat_template: {}, expected a string or a list", origin, found->type_name());
  for (const Json& entry : found->as_array()) {
    const Json* name = entry.find("name");
    const Json* source = entry.find("template");
    if (name && name->is_string() && name->as_string() == "default" && source && source->is_string())
      return &source->as_string();
  }
  fail(Errc::not_found, "{}: chat_template: no template named default in the list", origin);
}

}  // namespace

struct ChatTemplate::State {
  std::string source;
  std::string origin;
  Json variables;
  jinja::Tree tree;
};

ChatTemplate::ChatTemplate(std::unique_ptr<const State> state) : state_(std::move(state)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

const std::string& ChatTemplate::source() const { return state_->source; }

ChatTemplate ChatTemplate::load(const std::filesystem::path& folder) {
  const std::filesystem::path jinja_path = folder / "chat_template.jinja";
  const std::filesystem::path config_path = folder / "tokenizer_config.json";
  Json config = Json::Object();
  if (file_exists(config_path)) config = Json::parse(file_text(config_path), config_path.string());
  if (file_exists(jinja_path)) return parse(file_text(jinja_path), special_tokens(config), jinja_path.string());
  if (config.find("chat_template")) return from_config(config, config_path.string());
  fail(Errc::not_found, "{}: no chat_template.jinja, and no chat_template in tokenizer_config.json", folder.string());
}

ChatTemplate ChatTemplate::from_config(const Json& config, std::string_view origin) {
  if (const std::string* source = template_of(config, std::string(origin)))
    return parse(*source, special_tokens(config), std::string(origin) + ": chat_template");
  fail(Errc::not_found, "{}: no chat_template", origin);
}

ChatTemplate ChatTemplate::parse(std::string_view source, const Json& variables, std::string_view origin) {
  auto state = std::make_unique<State>();
  state->source = source;
  state->origin = origin;
  state->variables = variables;
  try {
    state->tree = jinja::parse(source);
  } catch (const jinja::Failure& failure) {
    fail(Errc::template_error, "{}: line {}: {}", origin, failure.line, failure.what());
  }
  return ChatTemplate(std::move(state));
}

MarkedText ChatTemplate::render(const Json& messages, const Json& tools, const Json& kwargs) const {
  return render(messages, tools, kwargs, {});
}

MarkedText ChatTemplate::render(const Json& messages, const Json& tools, const Json& kwargs,
                                const RenderOptions& options) const {
  constexpr bool kTemplate = true, kMessage = false;
  jinja::Limits limits;
  if (options.max_steps > 0) limits.steps = options.max_steps;
  if (options.max_bytes > 0) {
    limits.memory = options.max_bytes;
    limits.text = static_cast<size_t>(options.max_bytes);
  }
  jinja::Interpreter interpreter(state_->tree, limits, options.now);
  try {
    interpreter.define("documents", Json(), kMessage);
    if (state_->variables.is_object())
      for (const auto& [name, value] : state_->variables.as_object()) interpreter.define(name, value, kTemplate);
    interpreter.define("messages", messages, kMessage);
    interpreter.define("tools", tools, kMessage);
    if (kwargs.is_object())
      for (const auto& [name, value] : kwargs.as_object()) interpreter.define(name, value, kMessage);
    return interpreter.run();
  } catch (const jinja::Failure& failure) {
    fail(Errc::template_error, "{}: line {}: {}", state_->origin, failure.line > 0 ? failure.line : interpreter.line(),
         failure.what());
  }
}

}  // namespace inkstone
