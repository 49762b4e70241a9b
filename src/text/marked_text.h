// MarkedText: text that remembers which characters a template wrote and which came from a message. Only what the
// template wrote may become special tokens: "<|im_start|>" typed by a user stays text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace inkstone {

struct MarkedText {
  struct Run {
    size_t end = 0;  // byte offset in text, exclusive; runs are in order, merged, and cover the text
    bool from_template = false;
    friend bool operator==(const Run&, const Run&) = default;
  };

  std::string text;
  std::vector<Run> runs;

  void append(std::string_view piece, bool from_template) {
    if (piece.empty()) return;
    text += piece;
    if (!runs.empty() && runs.back().from_template == from_template)
      runs.back().end = text.size();
    else
      runs.push_back({text.size(), from_template});
  }
};

}  // namespace inkstone
