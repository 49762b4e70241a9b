#include "text/unicode.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <random>

namespace inkstone {
namespace {

const std::string kFffd(kReplacementCharacter);

TEST(Unicode, LossyReplacesMaximalParts) {
  // The table of Unicode 15, section 3.9 ("U+FFFD Substitution of Maximal Subparts"), and its neighbours.
  const std::pair<std::string, std::string> cases[] = {
      {"abc", "abc"},
      {std::string("\0\x7f", 2), std::string("\0\x7f", 2)},
      {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", kFffd + kFffd + kFffd + kFffd + kFffd + kFffd + kFffd + kFffd + "A"},
      {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", kFffd + kFffd + kFffd + kFffd + kFffd + kFffd + kFffd + kFffd + "A"},
      {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", kFffd + kFffd + kFffd + kFffd + kFffd + "A" + kFffd + kFffd + "B"},
      {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", kFffd + kFffd + kFffd + kFffd + "A"},
      {"\xE4\xBD\xA0\xE5\xA5", "\xE4\xBD\xA0" + kFffd},
      {"\xF0\x9F\x98\x80\xF0\x9F\x98", "\xF0\x9F\x98\x80" + kFffd},
      {"\xC3", kFffd},
      {"\xC3\xC3\xA9", kFffd + "\xC3\xA9"},
  };
  for (const auto& [bytes, text] : cases) EXPECT_EQ(to_valid_utf8(bytes), text);
}

TEST(Unicode, IncompleteSuffixIsWhatMoreBytesCouldComplete) {
  EXPECT_EQ(incomplete_suffix(""), 0);
  EXPECT_EQ(incomplete_suffix("a"), 0);
  EXPECT_EQ(incomplete_suffix("a\xC3"), 1);
  EXPECT_EQ(incomplete_suffix("\xE4\xBD"), 2);
  EXPECT_EQ(incomplete_suffix("\xF0\x9F\x98"), 3);
  EXPECT_EQ(incomplete_suffix("\xF0\x9F\x98\x80"), 0);
  EXPECT_EQ(incomplete_suffix("\xE0\x80"), 0);  // never a character
  EXPECT_EQ(incomplete_suffix("\x80\x80\x80\x80"), 0);
}

std::string encoded(char32_t c) {
  std::string text;
  append_utf8(c, text);
  return text;
}

// utf8proc on the whole text: the definition that the local rewriting must agree with.
std::string whole_nfc(const std::string& text) {
  utf8proc_uint8_t* result = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), text.size(), &result,
                                 static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::string out(reinterpret_cast<char*>(result), size);
  free(result);
  return out;
}

TEST(Unicode, NfcOfEveryCharacterAloneAndBetweenOthers) {
  std::string scratch;
  for (char32_t c = 0; c < 0x110000; c += c < 0x33000 ? 1 : 97) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const std::string text = encoded(c);
    ASSERT_EQ(nfc(text, scratch), whole_nfc(text)) << std::hex << static_cast<uint32_t>(c);
    if (c >= 0x20000 || (c >= 0x4E00 && c < 0xD7B0 && c % 7 != 0)) continue;
    const std::string between = "e\xCC\xA7" + text + "\xCC\x81\xE1\x86\xA8x";  // e, cedilla, c, acute, a Hangul final
    ASSERT_EQ(nfc(between, scratch), whole_nfc(between)) << std::hex << static_cast<uint32_t>(c);
  }
}

TEST(Unicode, NfcOfRandomTextEqualsUtf8procs) {
  std::mt19937 random(7);
  const char32_t bases[] = {'a',    'e',    0xE9,   0x300,   0x301,   0x316,   0x327,   0x345,  0x3B1,
                            0x439,  0x5D0,  0x5B0,  0x915,   0x93C,   0x94D,   0x9C7,   0x9BE,  0xE38,
                            0xE48,  0x1100, 0x1161, 0x11A8,  0xAC00,  0x212A,  0x2126,  0x304B, 0x3099,
                            0x4E2D, 0xF900, 0xFB1D, 0x1D15E, 0x110BA, 0x11099, 0x2F800, ' '};
  std::string scratch;
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (size_t n = random() % 12; n > 0; --n) text += encoded(bases[random() % std::size(bases)]);
    ASSERT_EQ(nfc(text, scratch), whole_nfc(text)) << text;
  }
}

TEST(Unicode, NfcLeavesNormalTextWhereItIs) {
  std::string scratch;
  for (const std::string_view text : {"", "plain", "d\xC3\xA9j\xC3\xA0 vu", "\xE4\xBD\xA0\xE5\xA5\xBD \xED\x95\x9C"})
    EXPECT_EQ(nfc(text, scratch).data(), text.data());
}

}  // namespace
}  // namespace inkstone
