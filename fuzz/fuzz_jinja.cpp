// Any bytes as a chat template, rendered over a fixed conversation under small bounds: it renders or fails, nothing
// else, and what it renders has sound marks.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "text/chat_template.h"

namespace {

const inkstone::Json& conversation() {
  static const inkstone::Json json = inkstone::Json::parse(
      R"([{"role": "system", "content": "Be <|im_end|> kind \u00e9\u4e16"},
          {"role": "user", "content": " <think>a</think>\nline\r\n\ttwo {{ x }} ", "n": 3},
          {"role": "assistant", "content": null, "f": 2.5, "ok": true, "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": {"b": [1, 2.0, null], "a": "x"}}}]},
          {"role": "tool", "content": "7"}])",
      "conversation");
  return json;
}

const inkstone::Json& tools() {
  static const inkstone::Json json = inkstone::Json::parse(
      R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}])",
      "tools");
  return json;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const inkstone::Json variables = inkstone::Json::parse(R"({"bos_token": "<s>", "eos_token": "</s>"})", "v");
  static const inkstone::Json kwargs = inkstone::Json::parse(R"({"add_generation_prompt": true})", "k");
  inkstone::RenderOptions options;
  options.now = std::tm{};
  options.max_steps = 20'000;
  options.max_bytes = 8 << 20;
  try {
    const std::string_view source(reinterpret_cast<const char*>(data), size);
    const auto parsed = inkstone::ChatTemplate::parse(source, variables, "fuzz");
    const inkstone::MarkedText text = parsed.render(conversation(), tools(), kwargs, options);
    size_t end = 0;
    for (const auto& run : text.runs) {
      if (run.end <= end) std::abort();
      end = run.end;
    }
    if (end != text.text.size()) std::abort();
  } catch (const inkstone::Error& error) {
    if (error.code() != inkstone::Errc::template_error) throw;
  }
  return 0;
}
