// The Split expression of the Qwen tokenizers, run by hand: the pieces that PCRE2 finds (a test compares them), sooner.
// Plain functions, any thread.
#pragma once

#include <cstddef>
#include <string_view>

namespace inkstone {

inline constexpr std::string_view kQwenSplit =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Where the match of kQwenSplit at `begin` ends. It matches everywhere, and never nothing. `text` is valid UTF-8,
// `begin` the start of a character of it.
size_t qwen_piece_end(std::string_view text, size_t begin);

}  // namespace inkstone
