// JsonScanner: follows one JSON value byte by byte and says where it ends or stops being JSON. It checks grammar only
// (strict RFC 8259, nesting bounded), keeps no text, and never recurses. UTF-8 is the caller's concern.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace inkstone {

class JsonScanner {
 public:
  enum class Status {
    more,     // took the byte; the value goes on
    done,     // took the byte; the value is complete
    ended,    // did not take the byte; the value was complete before it (only a number ends so)
    invalid,  // did not take the byte
  };
  // White space before the value is taken, too.
  Status feed(char c);

  // Whether `text` is exactly one value, white space around it allowed.
  static bool is_value(std::string_view text);

 private:
  enum class State {
    value,         // a value must follow
    value_or_end,  // behind '[': a value or ']'
    key_or_end,    // behind '{'
    key,           // behind ',' in an object
    colon,
    comma_or_end,
    string,
    escape,
    hex,
    literal,
    minus,
    zero,
    integer,
    point,
    fraction,
    exponent,
    exponent_sign,
    exponent_digits,
    finished,
  };
  static constexpr size_t kMaxDepth = 512;  // of those who will parse the value later

  Status begin_value(char c);
  Status end_value();
  Status in_string(char c);
  Status in_number(char c);
  Status close(char c);
  Status after_value(char c);

  State state_ = State::value;
  std::vector<char> open_;  // '{' or '['
  bool is_key_ = false;     // the string that is open
  int hex_left_ = 0;
  const char* literal_ = nullptr;
};

}  // namespace inkstone
