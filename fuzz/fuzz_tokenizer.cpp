// A tokenizer.json, and behind a zero byte (which no JSON holds) some text: whatever loads must encode and decode, with
// the same ids a second time, and stream what it decodes.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace {

using inkstone::Tokenizer;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_text(const Tokenizer& tokenizer, std::string_view text) {
  const std::vector<int32_t> ids = tokenizer.encode(text);
  require(ids == tokenizer.encode(text));
  inkstone::MarkedText marked;
  marked.append(text, true);
  require(ids == tokenizer.encode(marked));
  inkstone::MarkedText typed;
  typed.append(text, false);
  require(tokenizer.encode_plain(text) == tokenizer.encode(typed));
  for (const bool skip : {false, true}) {
    inkstone::Detokenizer stream(tokenizer, skip);
    std::string streamed;
    for (const int32_t id : ids) streamed += stream.add(id);
    require(streamed + stream.finish() == tokenizer.decode(ids, skip));
  }
  inkstone::MarkedText halves;
  halves.append(text.substr(0, text.size() / 2), true);
  halves.append(text.substr(text.size() / 2), false);
  for (const int32_t id : tokenizer.encode(halves)) require(id >= 0 && id < tokenizer.vocab_size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = input.find('\0');
  try {
    const Tokenizer tokenizer = Tokenizer::parse(input.substr(0, end), "tokenizer.json");
    check_text(tokenizer, "Hello, w\xC3\xB6rld <|x|> e\xCC\x81 \xFF 42\n\n");
    if (end != std::string_view::npos) check_text(tokenizer, input.substr(end + 1, 256));
    std::vector<int32_t> all;
    for (int32_t id = -1; id < 300; ++id) all.push_back(id);
    tokenizer.decode(all);
  } catch (const inkstone::Error& error) {
    require(error.code() == inkstone::Errc::bad_file || error.code() == inkstone::Errc::unsupported);
  }
  return 0;
}
