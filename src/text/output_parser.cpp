#include "text/output_parser.h"

#include "text/tool_call_parser.h"

namespace inkstone {
namespace {

using Kind = OutputEvent::Kind;

constexpr std::string_view kThink = "<think>";
constexpr std::string_view kThinkEnd = "</think>";
constexpr std::string_view kToolCall = "<tool_call>";

bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

// Bytes at the end of `text` that begin a <tool_call>. '<' stands nowhere else in it, so the last one decides.
size_t begun_marker(std::string_view text) {
  const size_t at = text.rfind('<');
  if (at == std::string_view::npos || text.size() - at >= kToolCall.size()) return 0;
  return kToolCall.starts_with(text.substr(at)) ? text.size() - at : 0;
}

}  // namespace

OutputParser::OutputParser(const OutputFormat& format)
    : format_(format), state_(format.starts_in_thinking ? State::thinking_begins : State::before_thinking) {}
OutputParser::~OutputParser() = default;
OutputParser::OutputParser(OutputParser&&) noexcept = default;
OutputParser& OutputParser::operator=(OutputParser&&) noexcept = default;

bool OutputParser::in_thinking() const { return state_ == State::thinking_begins || state_ == State::thinking; }

void OutputParser::feed(std::string_view piece, std::vector<OutputEvent>& events) {
  events_ = &events;
  first_event_ = events.size();
  for (const char c : piece) step(c);
  events_ = nullptr;
}

void OutputParser::finish(std::vector<OutputEvent>& events) {
  events_ = &events;
  first_event_ = events.size();
  if (state_ == State::before_thinking) replay_as_content();
  if (state_ == State::thinking_ended) leave_blank_lines();
  if (in_thinking()) {
    if (matched_ > 0) {
      begin_thinking_text();
      emit(Kind::thinking, kThinkEnd.substr(0, matched_));
    }
  } else if (state_ == State::tool_call) {
    tool_call_to_content();
  }
  if (state_ == State::content) {
    if (!after_call_ || answered_ || matched_ > 0) emit(Kind::content, blanks_);
    emit(Kind::content, kToolCall.substr(0, matched_));
  }
  blanks_.clear();
  matched_ = 0;
  events_ = nullptr;
}

void OutputParser::step(char c) {
  switch (state_) {
    case State::before_thinking: return before_thinking(c);
    case State::thinking_begins:
    case State::thinking: return thinking(c);
    case State::thinking_ended: return thinking_ended(c);
    case State::content: return content(c);
    case State::tool_call: return tool_call(c);
  }
}

void OutputParser::before_thinking(char c) {
  if (matched_ == 0 && is_blank(c)) {
    blanks_ += c;
  } else if (c == kThink[matched_]) {
    if (++matched_ < kThink.size()) return;
    matched_ = 0;
    blanks_.clear();
    state_ = State::thinking_begins;
  } else {
    replay_as_content();
    content(c);
  }
}

// No thinking comes: what was held back for it is content like any other.
void OutputParser::replay_as_content() {
  const std::string held = blanks_ + std::string(kThink.substr(0, matched_));
  blanks_.clear();
  matched_ = 0;
  state_ = State::content;
  for (const char c : held) content(c);
}

void OutputParser::thinking(char c) {
  if (matched_ > 0 && c != kThinkEnd[matched_]) {
    begin_thinking_text();
    emit(Kind::thinking, kThinkEnd.substr(0, matched_));
    matched_ = 0;
  }
  if (c == kThinkEnd[matched_]) {
    if (++matched_ < kThinkEnd.size()) return;
    matched_ = 0;
    blanks_.clear();
    state_ = State::thinking_ended;
  } else if (state_ == State::thinking_begins && is_blank(c)) {
    blanks_ += c;
  } else {
    begin_thinking_text();
    emit(Kind::thinking, std::string_view(&c, 1));
  }
}

// The first character that is no white space: the blanks before it belong to the thinking, but for one line break.
void OutputParser::begin_thinking_text() {
  if (state_ == State::thinking) return;
  state_ = State::thinking;
  std::string_view blanks = blanks_;
  if (blanks.starts_with("\r\n"))
    blanks.remove_prefix(2);
  else if (blanks.starts_with('\n'))
    blanks.remove_prefix(1);
  emit(Kind::thinking, blanks);
  blanks_.clear();
}

void OutputParser::thinking_ended(char c) {
  if (is_blank(c)) {
    blanks_ += c;
    return;
  }
  leave_blank_lines();
  content(c);
}

void OutputParser::leave_blank_lines() {
  const size_t line = blanks_.rfind('\n');
  if (line != std::string::npos) blanks_.erase(0, line + 1);
  state_ = State::content;
}

void OutputParser::content(char c) {
  if (!format_.parse_tool_calls) {
    emit(Kind::content, blanks_);
    blanks_.clear();
    emit(Kind::content, std::string_view(&c, 1));
    return;
  }
  if (matched_ > 0 && c != kToolCall[matched_]) {
    emit(Kind::content, blanks_);
    emit(Kind::content, kToolCall.substr(0, matched_));
    blanks_.clear();
    matched_ = 0;
    answered_ = true;
  }
  if (c == kToolCall[matched_]) {
    if (++matched_ == kToolCall.size()) begin_tool_call();
  } else if (is_blank(c)) {
    blanks_ += c;
  } else {
    emit(Kind::content, blanks_);
    blanks_.clear();
    emit(Kind::content, std::string_view(&c, 1));
    answered_ = true;
  }
}

// Templates write one line break between an answer and its first call, and between calls.
void OutputParser::begin_tool_call() {
  matched_ = 0;
  size_t kept = 0;
  if (answered_) kept = blanks_.ends_with('\n') ? blanks_.size() - 1 : blanks_.size();
  emit(Kind::content, std::string_view(blanks_).substr(0, kept));
  call_text_ = blanks_.substr(kept);
  call_text_ += kToolCall;
  blanks_.clear();
  call_ = std::make_unique<ToolCallParser>();
  state_ = State::tool_call;
}

void OutputParser::tool_call(char c) {
  const ToolCallParser::Step step = call_->feed(c);
  call_text_ += c;
  if (step.malformed) return tool_call_to_content();
  if (step.name_known) emit(Kind::tool_call, call_->name(), calls_++);
  if (!step.arguments.empty()) emit(Kind::tool_call_arguments, step.arguments, calls_ - 1);
  if (!step.complete) return;
  emit(Kind::tool_call_end, {}, calls_ - 1);
  call_.reset();
  call_text_.clear();
  state_ = State::content;
  answered_ = false;
  after_call_ = true;
}

// The call as it stood becomes content; if its end begins a marker, that is still open.
void OutputParser::tool_call_to_content() {
  matched_ = begun_marker(std::string_view(call_text_).substr(1));
  emit(Kind::content, std::string_view(call_text_).substr(0, call_text_.size() - matched_));
  call_.reset();
  call_text_.clear();
  state_ = State::content;
  answered_ = true;
}

void OutputParser::emit(Kind kind, std::string_view text, int index) {
  const bool pure_text = kind != Kind::tool_call && kind != Kind::tool_call_end;
  if (pure_text && text.empty()) return;
  if (pure_text && events_->size() > first_event_ && events_->back().kind == kind && events_->back().index == index)
    events_->back().text += text;
  else
    events_->push_back({kind, std::string(text), index});
}

}  // namespace inkstone
