// Work on strings that both methods and filters do; every character keeps its mark.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace inkstone::jinja {

enum class Side { left, right, both };
// Takes white space, or the characters of `chars`, from the ends.
TextPtr strip(const TextPtr& text, Side side, const Text* chars);
TextPtr replace(const TextPtr& text, const Text& old, const Text& with, int64_t count);  // count < 0: all
TextPtr upper(const Text& text);
TextPtr lower(const Text& text);
TextPtr capitalize(const Text& text);
std::vector<TextPtr> split_lines(const Text& text, bool keep_ends);
MarkedText join(const std::vector<Value>& items, const Text& separator);  // items by str()
TextPtr filled(const Text& text, int64_t width, char32_t fill, Side text_side);
bool from_template_first(const Text& text);  // the mark of what is made for `text`

}  // namespace inkstone::jinja
