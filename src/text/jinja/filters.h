// The tables of filters, one a file.
#pragma once

#include <span>

#include "text/jinja/function.h"
#include "text/jinja/interpreter.h"

namespace inkstone::jinja {

std::span<const Native> text_filters();
std::span<const Native> list_filters();
std::span<const Native> choice_filters();
std::span<const Native> number_filters();

// What `attribute=` arguments mean: "a.b.0" -> item["a"]["b"][0]; an integer is one index.
Value attribute_path(Interpreter& interpreter, const Value& item, const Value& path);

}  // namespace inkstone::jinja
