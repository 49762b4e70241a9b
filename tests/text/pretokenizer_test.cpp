#include "text/pretokenizer.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "tests/text/small_tokenizer.h"

namespace inkstone {
namespace {

using Strings = std::vector<std::string>;

Strings split(const std::string& expression, std::string_view text) {
  const Pretokenizer pretokenizer = Pretokenizer::compile(expression, "test");
  Pretokenizer::Scratch scratch(pretokenizer);
  Pretokenizer::Pieces pieces(pretokenizer, text, scratch);
  Strings out;
  for (std::string_view piece; pieces.next(piece);) out.emplace_back(piece);
  return out;
}

TEST(Pretokenizer, MatchesAndWhatLiesBetweenArePieces) {
  EXPECT_EQ(split("b+", "abba"), (Strings{"a", "bb", "a"}));
  EXPECT_EQ(split("b+", "bb"), (Strings{"bb"}));
  EXPECT_EQ(split("b+", "aa"), (Strings{"aa"}));
  EXPECT_EQ(split("b+", ""), Strings{});
}

TEST(Pretokenizer, EmptyMatchesCut) {
  EXPECT_EQ(split("b*", "abba"), (Strings{"a", "bb", "a"}));
  EXPECT_EQ(split("(?=b)", "abba"), (Strings{"a", "b", "ba"}));
  EXPECT_EQ(split("(?=\xC3\xA9)", "a\xC3\xA9\xC3\xA9"), (Strings{"a", "\xC3\xA9", "\xC3\xA9"}));
}

TEST(Pretokenizer, SmallSplit) {
  EXPECT_EQ(split(kSmallSplit, "Hello, world  12\n\n  x"),
            (Strings{"Hello", ",", " world", " ", " ", "1", "2", "\n\n", " ", " x"}));
  EXPECT_EQ(split(Pretokenizer::gpt2_pattern(), "it's  42 ok!"), (Strings{"it", "'s", " ", " 42", " ok", "!"}));
}

TEST(Pretokenizer, CaseFoldingReachesBeyondAscii) {
  EXPECT_EQ(split("(?i:'s)", "x'\xC5\xBFy"), (Strings{"x", "'\xC5\xBF", "y"}));  // U+017F, long s
}

TEST(Pretokenizer, WhiteSpaceIsUnicodes) {
  for (const char* blank : {"\t", "\v", "\x1C", "\xC2\x85", "\xC2\xA0", "\xE1\x9A\x80", "\xE2\x80\x8A", "\xE2\x80\xA8",
                            "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"}) {
    const bool white = std::string_view(blank) != "\x1C";
    const std::string text = std::string("a") + blank + "b";
    EXPECT_EQ(split(R"(\s)", text).size(), white ? 3 : 1) << blank;
    EXPECT_EQ(split(R"([^\s]+)", text).size(), white ? 3 : 1) << blank;
    EXPECT_EQ(split(R"(\S+)", text).size(), white ? 3 : 1) << blank;
  }
  for (const char* other : {"\xE1\xA0\x8E", "\xE2\x80\x8B", "\xEF\xBB\xBF"})  // U+180E, U+200B, U+FEFF
    EXPECT_EQ(split(R"(\s)", std::string("a") + other + "b").size(), 1);
}

TEST(Pretokenizer, LiteralMatchesItself) {
  const std::string text = "a.b|c[\\]{2}(\xC3\xA9)^$*+?-#&& ~";
  EXPECT_EQ(split(Pretokenizer::literal(text), "xa.b|" + text + "y"), (Strings{"xa.b|", text, "y"}));
}

TEST(Pretokenizer, RefusesWhatTheEnginesReadDifferently) {
  for (const char* expression :
       {"^a",        "a$",      R"(\h)",       R"(\K)",           R"(\1(a))", R"(\x41)", "(?R)",  "(?C1)",
        "(*ACCEPT)", "(?<n>a)", "[[:alpha:]]", "[a&&b]",          R"([\S])",  "a{,3}",   "a{2}+", "a{5000}",
        "(",         "[a",      "\\",          R"(\p{Nonsense})", R"(\pL)",   "[]a]",    "(?m:a)"}) {
    try {
      Pretokenizer::compile(expression, "test");
      ADD_FAILURE() << expression;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::unsupported) << expression;
    }
  }
}

TEST(Pretokenizer, GivesUpOnExpressionsThatExplode) {
  const std::string text(40, 'a');
  EXPECT_THROW(split("(?:a|aa)+[bc]", text), Error);
}

// Each match alone is cheap enough, all of them together are not: the budget is the text's.
TEST(Pretokenizer, GivesUpOnExpressionsThatCrawlOverATextOfManyMatches) {
  std::string text;
  while (text.size() < 1 << 20) text += std::string(1000, 'a') + ' ';
  for (const char* expression : {"a*b|c", "(?:a|aa)*?c", "(?=a*b)d|a"}) {
    try {
      split(expression, text);
      ADD_FAILURE() << expression;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::unsupported);
      EXPECT_TRUE(std::string_view(error.what()).starts_with("test: Split expression: needs more than "))
          << error.what();
    }
  }
  EXPECT_GT(split("(?:" + std::string(kSmallSplit) + ")", text).size(), 1000);
}

TEST(Pretokenizer, LongRunsNeedNoStack) {
  const std::string blanks(1 << 20, ' ');
  EXPECT_EQ(split(kSmallSplit, blanks + "x").size(), 2);
  EXPECT_EQ(split(kSmallSplit, std::string(1 << 20, 'x')).size(), 1);
  EXPECT_EQ(split(R"((?:\p{L}|\p{N})+)", std::string(1 << 16, 'x')).size(), 1);
}

TEST(Pretokenizer, ThreadsShareIt) {
  const Pretokenizer pretokenizer = Pretokenizer::compile(kSmallSplit, "test");
  std::vector<std::thread> threads;
  std::vector<size_t> counts(4);
  for (size_t t = 0; t < counts.size(); ++t)
    threads.emplace_back([&, t] {
      Pretokenizer::Scratch scratch(pretokenizer);
      for (int round = 0; round < 200; ++round) {
        Pretokenizer::Pieces pieces(pretokenizer, "one two, three\n", scratch);
        for (std::string_view piece; pieces.next(piece);) ++counts[t];
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const size_t count : counts) EXPECT_EQ(count, 200 * 5);
}

}  // namespace
}  // namespace inkstone
