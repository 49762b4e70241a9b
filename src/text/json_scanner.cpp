#include "text/json_scanner.h"

namespace inkstone {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

}  // namespace

JsonScanner::Status JsonScanner::feed(char c) {
  switch (state_) {
    case State::value: return is_blank(c) ? Status::more : begin_value(c);
    case State::value_or_end:
      if (c == ']') return close(c);
      return is_blank(c) ? Status::more : begin_value(c);
    case State::key_or_end:
      if (c == '}') return close(c);
      [[fallthrough]];
    case State::key:
      if (is_blank(c)) return Status::more;
      if (c != '"') return Status::invalid;
      is_key_ = true;
      state_ = State::string;
      return Status::more;
    case State::colon:
      if (is_blank(c)) return Status::more;
      if (c != ':') return Status::invalid;
      state_ = State::value;
      return Status::more;
    case State::comma_or_end: return after_value(c);
    case State::string:
    case State::escape:
    case State::hex: return in_string(c);
    case State::literal:
      if (c != *literal_) return Status::invalid;
      return *++literal_ == 0 ? end_value() : Status::more;
    case State::finished: return Status::ended;
    default: return in_number(c);
  }
}

JsonScanner::Status JsonScanner::begin_value(char c) {
  if (c == '{' || c == '[') {
    if (open_.size() >= kMaxDepth) return Status::invalid;
    open_.push_back(c);
    state_ = c == '{' ? State::key_or_end : State::value_or_end;
  } else if (c == '"') {
    is_key_ = false;
    state_ = State::string;
  } else if (c == 't' || c == 'f' || c == 'n') {
    literal_ = c == 't' ? "rue" : c == 'f' ? "alse" : "ull";
    state_ = State::literal;
  } else if (c == '-') {
    state_ = State::minus;
  } else if (is_digit(c)) {
    state_ = c == '0' ? State::zero : State::integer;
  } else {
    return Status::invalid;
  }
  return Status::more;
}

JsonScanner::Status JsonScanner::end_value() {
  state_ = open_.empty() ? State::finished : State::comma_or_end;
  return open_.empty() ? Status::done : Status::more;
}

JsonScanner::Status JsonScanner::close(char c) {
  if (open_.back() != (c == '}' ? '{' : '[')) return Status::invalid;
  open_.pop_back();
  return end_value();
}

JsonScanner::Status JsonScanner::after_value(char c) {
  if (is_blank(c)) return Status::more;
  if (c == '}' || c == ']') return close(c);
  if (c != ',') return Status::invalid;
  state_ = open_.back() == '{' ? State::key : State::value;
  return Status::more;
}

JsonScanner::Status JsonScanner::in_string(char c) {
  if (state_ == State::escape) {
    if (c == 'u') {
      hex_left_ = 4;
      state_ = State::hex;
      return Status::more;
    }
    state_ = State::string;
    return std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos ? Status::more : Status::invalid;
  }
  if (state_ == State::hex) {
    if (!is_hex(c)) return Status::invalid;
    if (--hex_left_ == 0) state_ = State::string;
    return Status::more;
  }
  if (static_cast<unsigned char>(c) < 0x20) return Status::invalid;
  if (c == '\\') {
    state_ = State::escape;
  } else if (c == '"') {
    if (!is_key_) return end_value();
    state_ = State::colon;
  }
  return Status::more;
}

JsonScanner::Status JsonScanner::in_number(char c) {
  const bool digit = is_digit(c);
  const bool whole = state_ == State::zero || state_ == State::integer;
  if (digit && state_ != State::zero) {
    if (state_ == State::minus)
      state_ = c == '0' ? State::zero : State::integer;
    else if (state_ == State::point)
      state_ = State::fraction;
    else if (state_ == State::exponent || state_ == State::exponent_sign)
      state_ = State::exponent_digits;
    return Status::more;
  }
  if (c == '.' && whole) {
    state_ = State::point;
    return Status::more;
  }
  if ((c == 'e' || c == 'E') && (whole || state_ == State::fraction)) {
    state_ = State::exponent;
    return Status::more;
  }
  if ((c == '+' || c == '-') && state_ == State::exponent) {
    state_ = State::exponent_sign;
    return Status::more;
  }
  if (digit || !(whole || state_ == State::fraction || state_ == State::exponent_digits)) return Status::invalid;
  if (end_value() == Status::done) return Status::ended;
  return after_value(c);
}

bool JsonScanner::is_value(std::string_view text) {
  JsonScanner scanner;
  bool complete = false;
  for (const char c : text) {
    if (complete) {
      if (!is_blank(c)) return false;
      continue;
    }
    const Status status = scanner.feed(c);
    if (status == Status::invalid) return false;
    if (status == Status::ended && !is_blank(c)) return false;
    complete = status != Status::more;
  }
  return complete || scanner.feed(' ') == Status::ended;
}

}  // namespace inkstone
