#include "text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"
#include "text/qwen_split.h"
#include "text/split_expression.h"
#include "text/unicode.h"

namespace inkstone {
namespace {

// Steps a text may take: items of the expression that are tried, and bytes that the match moves between two of them. A
// sane expression takes a dozen a byte. One that tries everything everywhere ends here, after half a microsecond a
// byte.
constexpr size_t kBaseSteps = 1'000'000;
constexpr size_t kStepsPerByte = 64;
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
  std::unique_ptr<pcre2_code, FreeCode> code;  // none: kQwenSplit
  bool jit = false;
  std::string origin;
};

struct Pretokenizer::Scratch::State {
  std::unique_ptr<pcre2_match_data, FreeMatchData> data;
  std::unique_ptr<pcre2_match_context, FreeMatchContext> context;
  std::unique_ptr<pcre2_jit_stack, FreeJitStack> stack;
  size_t steps_left = 0;
  size_t place = 0;  // of the last step

  // PCRE2's own limit counts no scan of a repeated class and begins anew at each place; its automatic callouts, one
  // before each item, see everything.
  static int count(pcre2_callout_block* block, void* user) {
    State& state = *static_cast<State*>(user);
    const size_t at = block->current_position;
    const size_t steps = 1 + (at > state.place ? at - state.place : state.place - at);
    state.place = at;
    if (steps > state.steps_left) return PCRE2_ERROR_MATCHLIMIT;
    state.steps_left -= steps;
    return 0;
  }
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
  auto state = std::make_unique<State>();
  state->origin = origin;
  if (expression == kQwenSplit) return Pretokenizer(std::move(state));
  const std::string pattern = pcre_of_split_expression(expression, origin);
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 50);
  int error = 0;
  PCRE2_SIZE offset = 0;
  state->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT, &error, &offset,
                                  context.get()));
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
  if (!owner.state_->code) return;
  state_->data.reset(pcre2_match_data_create_from_pattern(owner.state_->code.get(), nullptr));
  state_->context.reset(pcre2_match_context_create(nullptr));
  if (!state_->data || !state_->context) throw std::bad_alloc();
  pcre2_set_heap_limit(state_->context.get(), kHeapKilobytes);
  pcre2_set_match_limit(state_->context.get(), UINT32_MAX);
  pcre2_set_callout(state_->context.get(), &State::count, state_.get());
}
Pretokenizer::Scratch::~Scratch() = default;
Pretokenizer::Scratch::Scratch(Scratch&&) noexcept = default;

void Pretokenizer::Pieces::begin() {
  scratch_.state_->steps_left = kBaseSteps + text_.size() * kStepsPerByte;
  scratch_.state_->place = 0;
}

void Pretokenizer::Pieces::find_match(size_t from) {
  Scratch::State& scratch = *scratch_.state_;
  const State& state = *owner_.state_;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text_.data());
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
  } else if (result == PCRE2_ERROR_MATCHLIMIT) {
    fail(Errc::unsupported, "{}: Split expression: needs more than {} steps for a text of {} bytes", state.origin,
         kBaseSteps + text_.size() * kStepsPerByte, text_.size());
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
  if (!owner_.state_->code) {
    if (position_ == text_.size()) return false;
    const size_t end = qwen_piece_end(text_, position_);
    piece = text_.substr(position_, end - position_);
    position_ = end;
    return true;
  }
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
