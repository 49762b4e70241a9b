// The Split expression of a tokenizer.json, written for Oniguruma, rewritten for PCRE2. Both read most of it alike;
// what they read differently is rewritten (white space) or refused.
#pragma once

#include <string>
#include <string_view>

namespace inkstone {

// Throws Error(unsupported) naming the construct that is not supported.
std::string pcre_of_split_expression(std::string_view expression, std::string_view origin);

}  // namespace inkstone
