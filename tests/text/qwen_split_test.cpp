#include "text/qwen_split.h"

#include <gtest/gtest.h>

#include <random>

#include "text/character_class.h"
#include "text/pretokenizer.h"
#include "text/unicode.h"

namespace inkstone {
namespace {

using Strings = std::vector<std::string>;

Strings pieces(const Pretokenizer& pretokenizer, std::string_view text) {
  Pretokenizer::Scratch scratch(pretokenizer);
  Pretokenizer::Pieces walk(pretokenizer, text, scratch);
  Strings out;
  for (std::string_view piece; walk.next(piece);) out.emplace_back(piece);
  return out;
}

// The expression itself is split by hand; in a group it is another text, and PCRE2 runs it.
class QwenSplit : public testing::Test {
 protected:
  const Pretokenizer by_hand_ = Pretokenizer::compile(kQwenSplit, "by hand");
  const Pretokenizer by_pcre2_ = Pretokenizer::compile("(?:" + std::string(kQwenSplit) + ")", "PCRE2");
};

std::string encoded(char32_t c) {
  std::string text;
  append_utf8(c, text);
  return text;
}

TEST_F(QwenSplit, Examples) {
  const std::pair<std::string, Strings> cases[] = {
      {"", {}},
      {"Hello, world", {"Hello", ",", " world"}},
      {"it's we'LL they'\xC5\xBFo '", {"it", "'s", " we", "'LL", " they", "'\xC5\xBF", "o", " '"}},
      {"'tis 'rest", {"'t", "is", " '", "rest"}},
      {"a1b22", {"a", "1", "b", "2", "2"}},
      {"f(x);\r\n\r\n  y", {"f", "(x", ");\r\n\r\n", " ", " y"}},
      {"a  \n \n  b", {"a", "  \n \n", " ", " b"}},
      {"a   ", {"a", "   "}},
      {"\t\tx", {"\t", "\tx"}},
      {" 1  2", {" ", "1", " ", " ", "2"}},
      {"\n\nx", {"\n\n", "x"}},
      {"!x ?y", {"!x", " ?", "y"}},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(pieces(by_hand_, text), expected) << text;
    EXPECT_EQ(pieces(by_pcre2_, text), expected) << text;
  }
}

TEST_F(QwenSplit, EveryCharacterIsOfPcre2sClass) {
  for (char32_t c = 0; c < 0x110000; c += c < 0x40000 ? 1 : 37) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const std::string one = encoded(c);
    const std::string text = "a" + one + " " + one + one + "b1" + one + "\n" + one;
    ASSERT_EQ(pieces(by_hand_, text), pieces(by_pcre2_, text)) << std::hex << static_cast<uint32_t>(c);
  }
}

TEST_F(QwenSplit, RandomTextIsCutAsPcre2CutsIt) {
  std::mt19937 random(11);
  const char32_t likely[] = {' ',    ' ',    ' ',   '\n',   '\n',   '\r',   '\t',    '\'',    '\'',    's',
                             'S',    't',    'r',   'e',    'v',    'l',    'L',     'm',     'd',     'a',
                             'Z',    '1',    '9',   '.',    '_',    0x17F,  0x85,    0xA0,    0x3000,  0x2028,
                             0x180E, 0x200B, 0x301, 0x4E2D, 0x661,  0xB2,   0x2167,  0xE9,    0x391,   0x5D0,
                             0x915,  0x93F,  0xE31, 0x1100, 0xAC00, 0xFFFD, 0x1F600, 0x20000, 0x1D7CE, 0xE0041};
  for (int round = 0; round < 100'000; ++round) {
    std::string text;
    for (size_t n = 1 + random() % 14; n > 0; --n) {
      char32_t c = random() % 8 != 0 ? likely[random() % std::size(likely)] : random() % 0x30000;
      if (c >= 0xD800 && c < 0xE000) c = '-';
      text += encoded(c);
    }
    ASSERT_EQ(pieces(by_hand_, text), pieces(by_pcre2_, text)) << text;
  }
}

TEST_F(QwenSplit, LongRunsTakeLinearTime) {
  for (const char* unit : {" ", "\n", "x", "'", "\xE3\x80\x80", "\n ", " \xCC\x81"}) {
    std::string text = "a";
    while (text.size() < 4 << 20) text += unit;
    size_t bytes = 0;
    for (const std::string& piece : pieces(by_hand_, text + "b")) bytes += piece.size();
    EXPECT_EQ(bytes, text.size() + 1);
  }
}

}  // namespace
}  // namespace inkstone
