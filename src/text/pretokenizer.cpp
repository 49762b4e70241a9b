#include "text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "base/error.h"
#include "text/split_expression.h"
#include "text/unicode.h"

namespace inkstone {
namespace {

// A sane expression takes a few steps a character; a run of blanks that ends without a line break takes one for each.
constexpr uint32_t kBaseSteps = 1'000'000;
constexpr size_t kStepsPerByte = 16;
constexpr size_t kJitStackBytes = size_t{64} << 20;  // reserved only if the default of 32 KB does not do
constexpr uint32_t kHeapKilobytes = 256 << 10;       // for the interpreter, where there is no JIT

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeMatchContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeJitStack {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

std::string message_of(int error) {
  PCRE2_UCHAR buffer[256] = {};
  pcre2_get_error_message(error, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Pretokenizer::State {
  std::unique_ptr<pcre2_code, FreeCode> code;
  bool jit = false;
  std::string origin;
};

struct Pretokenizer::Scratch::State {
  std::unique_ptr<pcre2_match_data, FreeMatchData> data;
  std::unique_ptr<pcre2_match_context, FreeMatchContext> context;
  std::unique_ptr<pcre2_jit_stack, FreeJitStack> stack;
};

const std::string& Pretokenizer::gpt2_pattern() {
  static const std::string pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  return pattern;
}

std::string Pretokenizer::literal(std::string_view text) {
  std::string expression;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c & 0x80) ||
                       static_cast<unsigned char>(c) < 0x20 || c == ' ';
    if (!plain) expression += '\\';
    expression += c;
  }
  return expression;
}

Pretokenizer Pretokenizer::compile(std::string_view expression, std::string_view origin) {
  const std::string pattern = pcre_of_split_expression(expression, origin);
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 50);
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto state = std::make_unique<State>();
  state->origin = origin;
  state->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context.get()));
  if (!state->code)
    fail(Errc::unsupported, "{}: Split expression does not compile: {} at byte {}", origin, message_of(error), offset);
  state->jit = pcre2_jit_compile(state->code.get(), PCRE2_JIT_COMPLETE) == 0;
  return Pretokenizer(std::move(state));
}

Pretokenizer::Pretokenizer(std::unique_ptr<const State> state) : state_(std::move(state)) {}
Pretokenizer::~Pretokenizer() = default;
Pretokenizer::Pretokenizer(Pretokenizer&&) noexcept = default;
Pretokenizer& Pretokenizer::operator=(Pretokenizer&&) noexcept = default;

Pretokenizer::Scratch::Scratch(const Pretokenizer& owner) : state_(std::make_unique<State>()) {
  state_->data.reset(pcre2_match_data_create_from_pattern(owner.state_->code.get(), nullptr));
  state_->context.reset(pcre2_match_context_create(nullptr));
  if (!state_->data || !state_->context) throw std::bad_alloc();
  pcre2_set_heap_limit(state_->context.get(), kHeapKilobytes);
}
Pretokenizer::Scratch::~Scratch() = default;
Pretokenizer::Scratch::Scratch(Scratch&&) noexcept = default;

void Pretokenizer::Pieces::find_match(size_t from) {
  Scratch::State& scratch = *scratch_.state_;
  const State& state = *owner_.state_;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text_.data());
  if (position_ == 0 && from == 0) {
    const size_t steps = kBaseSteps + std::min(text_.size(), size_t{100} << 20) * kStepsPerByte;
    pcre2_set_match_limit(scratch.context.get(), static_cast<uint32_t>(steps));
  }
  const auto match = [&] {
    return state.jit ? pcre2_jit_match(state.code.get(), subject, text_.size(), from, 0, scratch.data.get(),
                                       scratch.context.get())
                     : pcre2_match(state.code.get(), subject, text_.size(), from, PCRE2_NO_UTF_CHECK,
                                   scratch.data.get(), scratch.context.get());
  };
  int result = match();
  if (result == PCRE2_ERROR_JIT_STACKLIMIT && !scratch.stack) {
    scratch.stack.reset(pcre2_jit_stack_create(32 << 10, kJitStackBytes, nullptr));
    if (!scratch.stack) throw std::bad_alloc();
    pcre2_jit_stack_assign(scratch.context.get(), nullptr, scratch.stack.get());
    result = match();
  }
  if (result == PCRE2_ERROR_NOMATCH) {
    match_begin_ = match_end_ = text_.size();
  } else if (result < 0) {
    fail(Errc::unsupported, "{}: Split expression: {} on a text of {} bytes", state.origin, message_of(result),
         text_.size());
  } else {
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(scratch.data.get());
    match_begin_ = span[0];
    match_end_ = span[1];
  }
  has_match_ = true;
}

bool Pretokenizer::Pieces::next(std::string_view& piece) {
  while (position_ < text_.size()) {
    if (!has_match_) find_match(position_);
    if (match_begin_ > position_) {  // what lies between two matches
      piece = text_.substr(position_, match_begin_ - position_);
      position_ = match_begin_;
      return true;
    }
    has_match_ = false;
    if (match_end_ > position_) {
      piece = text_.substr(position_, match_end_ - position_);
      position_ = match_end_;
      return true;
    }
    // An empty match cuts here; the search goes on one character later.
    find_match(position_ + utf8_head(text_.substr(position_)).length);
  }
  return false;
}

}  // namespace inkstone
