#include "text/tool_call_parser.h"

#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "text/unicode.h"

namespace inkstone {
namespace {

constexpr std::string_view kFunction = "<function=";
constexpr std::string_view kParameter = "<parameter=";
constexpr std::string_view kParameterEnd = "</parameter>";
constexpr std::string_view kFunctionEnd = "</function>";
constexpr std::string_view kCallEnd = "</tool_call>";

bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

// What a JSON string literal stands for (the scanner has checked its grammar). Any bytes pass; half a surrogate pair
// becomes U+FFFD.
std::string unquote(std::string_view literal) {
  std::string out;
  const auto unit_at = [&](size_t i) {
    char32_t unit = 0;
    for (const char c : literal.substr(i, 4))
      unit = unit << 4 | static_cast<char32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    return unit;
  };
  for (size_t i = 1; i + 1 < literal.size(); ++i) {
    if (literal[i] != '\\') {
      out += literal[i];
      continue;
    }
    const char c = literal[++i];
    if (c != 'u') {
      const size_t at = std::string_view("bfnrt").find(c);
      out += at == std::string_view::npos ? c : "\b\f\n\r\t"[at];
      continue;
    }
    char32_t unit = unit_at(i + 1);
    i += 4;
    if (unit >= 0xD800 && unit < 0xDC00 && literal.substr(i + 1).starts_with("\\u")) {
      const char32_t low = unit_at(i + 3);
      if (low >= 0xDC00 && low < 0xE000) {
        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
        i += 6;
      }
    }
    append_utf8(unit >= 0xD800 && unit < 0xE000 ? 0xFFFD : unit, out);
  }
  return out;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// A parameter's value as JSON: as it stands if it is an object, array, number, bool or null that our parser reads (no
// number beyond its range, no key twice), else as a string.
std::string json_of_parameter(std::string_view value) {
  const std::string_view trimmed = trim(value);
  if (!trimmed.empty() && trimmed.front() != '"' && JsonScanner::is_value(trimmed)) {
    try {
      Json::parse(trimmed, "parameter");
      return std::string(trimmed);
    } catch (const Error&) {  // well-formed, yet nothing that a reader of the arguments could read
    }
  }
  if (value.starts_with('\n')) value.remove_prefix(1);
  if (value.ends_with('\n')) value.remove_suffix(1);
  return json_quote(value);
}

}  // namespace

ToolCallParser::Step ToolCallParser::feed(char c) {
  Step step;
  switch (state_) {
    case State::begin:
      if (is_blank(c)) break;
      if (c == '{') {
        state_ = State::key_or_end;
      } else {
        state_ = State::function_marker;
        follow(kFunction, c, step);
      }
      break;
    case State::function_marker:
    case State::function_name:
    case State::parameter_or_end:
    case State::parameter_marker:
    case State::parameter_name:
    case State::parameter_value:
    case State::function_end: xml(c, step); break;
    case State::call_end:
      if (matched_ == 0 && is_blank(c)) break;
      step.complete = follow(kCallEnd, c, step);
      break;
    default: json(c, step);
  }
  return step;
}

bool ToolCallParser::follow(std::string_view marker, char c, Step& step) {
  if (c != marker[matched_]) {
    step.malformed = true;
    return false;
  }
  if (++matched_ < marker.size()) return false;
  matched_ = 0;
  return true;
}

void ToolCallParser::announce(Step& step) {
  announced_ = true;
  step.name_known = true;
}

void ToolCallParser::json(char c, Step& step) {
  switch (state_) {
    case State::key_or_end:
      if (c == '}') return end_json_object(step);
      [[fallthrough]];
    case State::key:
      if (is_blank(c)) return;
      if (c != '"') {
        step.malformed = true;
        return;
      }
      state_ = State::key_text;
      scanner_ = JsonScanner();
      scanner_.feed(c);
      text_ = c;
      return;
    case State::colon:
      if (c == ':')
        state_ = State::value_begin;
      else
        step.malformed = !is_blank(c);
      return;
    case State::value_begin:
      if (!is_blank(c)) begin_json_value(c, step);
      return;
    case State::comma_or_end:
      if (c == '}') return end_json_object(step);
      if (c == ',')
        state_ = State::key;
      else
        step.malformed = !is_blank(c);
      return;
    default: json_value(c, step);
  }
}

void ToolCallParser::begin_json_value(char c, Step& step) {
  scanner_ = JsonScanner();
  text_.clear();
  if (key_ == "name") {
    if (c != '"' || !name_.empty()) step.malformed = true;
    state_ = State::name_value;
  } else if (key_ == "arguments") {
    if (c != '{' || has_arguments_) step.malformed = true;
    has_arguments_ = true;
    state_ = State::arguments;
  } else {
    state_ = State::value;  // "id", "type": some models add them
  }
  if (!step.malformed) json_value(c, step);
}

void ToolCallParser::json_value(char c, Step& step) {
  const JsonScanner::Status status = scanner_.feed(c);
  if (status == JsonScanner::Status::invalid) {
    step.malformed = true;
    return;
  }
  if (status == JsonScanner::Status::ended) {  // a number, and c is what follows it
    state_ = State::comma_or_end;
    return json(c, step);
  }
  if (state_ == State::arguments)
    (announced_ ? step.arguments : early_) += c;
  else if (state_ != State::value)
    text_ += c;
  if (status == JsonScanner::Status::done) json_string_done(step);
}

void ToolCallParser::json_string_done(Step& step) {
  if (state_ == State::key_text) {
    key_ = unquote(text_);
    state_ = State::colon;
    return;
  }
  if (state_ == State::name_value) {
    name_ = unquote(text_);
    if (name_.empty()) {
      step.malformed = true;
      return;
    }
    announce(step);
    step.arguments = std::move(early_);
    early_.clear();
  }
  state_ = State::comma_or_end;
}

void ToolCallParser::end_json_object(Step& step) {
  if (!announced_) {
    step.malformed = true;
    return;
  }
  if (!has_arguments_) step.arguments = "{}";
  state_ = State::call_end;
}

void ToolCallParser::xml(char c, Step& step) {
  switch (state_) {
    case State::function_marker:
      if (follow(kFunction, c, step)) state_ = State::function_name;
      return;
    case State::function_name:
    case State::parameter_name:
      if (c != '>') {
        if (c == '<' || c == '\n')
          step.malformed = true;
        else
          text_ += c;
        return;
      }
      if (state_ == State::function_name) {
        name_ = trim(text_);
        step.malformed = name_.empty();
        if (!step.malformed) announce(step);
        state_ = State::parameter_or_end;
      } else {
        key_ = trim(text_);
        step.malformed = key_.empty() || !keys_.insert(key_).second;
        state_ = State::parameter_value;
      }
      text_.clear();
      return;
    case State::parameter_or_end:
      if (matched_ == 0 && is_blank(c)) return;
      if (matched_ == 1) state_ = c == '/' ? State::function_end : State::parameter_marker;
      if (state_ == State::parameter_or_end) {
        follow(kParameter, c, step);  // '<'
        return;
      }
      return xml(c, step);
    case State::parameter_marker:
      if (follow(kParameter, c, step)) state_ = State::parameter_name;
      return;
    case State::function_end:
      if (!follow(kFunctionEnd, c, step)) return;
      step.arguments = has_arguments_ ? "}" : "{}";
      state_ = State::call_end;
      return;
    default: xml_value(c, step);
  }
}

// The value ends at the first </parameter>; a '<' begins the marker anew wherever it stands.
void ToolCallParser::xml_value(char c, Step& step) {
  if (matched_ > 0 && c != kParameterEnd[matched_]) {
    text_ += kParameterEnd.substr(0, matched_);
    matched_ = 0;
  }
  if (c != kParameterEnd[matched_]) {
    text_ += c;
    return;
  }
  if (follow(kParameterEnd, c, step)) end_parameter(step);
}

void ToolCallParser::end_parameter(Step& step) {
  step.arguments = fmt::format("{}{}: {}", has_arguments_ ? ", " : "{", json_quote(key_), json_of_parameter(text_));
  has_arguments_ = true;
  text_.clear();
  state_ = State::parameter_or_end;
}

}  // namespace inkstone
