#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "tests/text/small_tokenizer.h"
#include "text/detokenizer.h"

namespace inkstone {
namespace {

using Ids = std::vector<int32_t>;

Tokenizer build(const Json& document) { return Tokenizer::parse(document.dump(), "tokenizer.json"); }

Json usual() {
  return small_tokenizer(
      {{"a", "b"}, {" ", "a"}, {"ab", "c"}, {"\xC3", "\xA9"}, {" ", " "}},
      {added_token(300, "<|end|>", true), added_token(301, "<think>", false), added_token(302, "<think>!", false)});
}

TEST(Tokenizer, MergesByRankWithinPieces) {
  const Tokenizer tokenizer = build(usual());
  EXPECT_EQ(tokenizer.encode("abc"), Ids{258});
  EXPECT_EQ(tokenizer.encode(" ab"), (Ids{' ', 256}));  // "a b" has the lower rank
  EXPECT_EQ(tokenizer.encode("ab,ab"), (Ids{256, ',', 256}));
  EXPECT_EQ(tokenizer.encode(""), Ids{});
  EXPECT_EQ(tokenizer.decode(Ids{258, 257, -1, 299, 99999, 259}), "abc a\xC3\xA9");
  EXPECT_EQ(tokenizer.vocab_size(), 303);
}

TEST(Tokenizer, NormalisesAndReplacesInvalidBytes) {
  const Tokenizer tokenizer = build(usual());
  EXPECT_EQ(tokenizer.encode("e\xCC\x81"), Ids{259});
  EXPECT_EQ(tokenizer.encode("\xFF"), (Ids{0xEF, 0xBF, 0xBD}));
  EXPECT_EQ(tokenizer.decode(Ids{0xC3, 'x', 0xC3}), "\xEF\xBF\xBDx\xEF\xBF\xBD");
}

TEST(Tokenizer, AddedTokensAreLeftmostLongestAndEverywhere) {
  const Tokenizer tokenizer = build(usual());
  EXPECT_EQ(tokenizer.encode("ab<|end|>ab"), (Ids{256, 300, 256}));
  EXPECT_EQ(tokenizer.encode("<think>!<think>?"), (Ids{302, 301, '?'}));
  EXPECT_EQ(tokenizer.encode("<<|end|>"), (Ids{'<', 300}));
  EXPECT_EQ(tokenizer.encode("  <|end|>"), (Ids{260, 300}));  // the blanks end their own text: no lookahead beyond
  EXPECT_EQ(tokenizer.encode_plain("<|end|>").size(), 7);
  EXPECT_EQ(tokenizer.decode(Ids{300, 301, 'x'}), "<|end|><think>x");
  EXPECT_EQ(tokenizer.decode(Ids{300, 301, 'x'}, true), "<think>x");
  EXPECT_TRUE(tokenizer.is_added(301) && !tokenizer.is_special(301) && tokenizer.is_special(300));
  EXPECT_EQ(tokenizer.id_of("<|end|>"), 300);
  EXPECT_EQ(tokenizer.id_of(spell(" a")), 257);
  EXPECT_EQ(tokenizer.id_of("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer.bytes_of(257), " a");
}

MarkedText marked(std::initializer_list<std::pair<std::string_view, bool>> pieces) {
  MarkedText text;
  for (const auto& [piece, from_template] : pieces) text.append(piece, from_template);
  return text;
}

TEST(Tokenizer, OnlyTheTemplateWritesAddedTokens) {
  const Tokenizer tokenizer = build(usual());
  const Ids typed = tokenizer.encode_plain("<|end|>");
  EXPECT_EQ(tokenizer.encode(marked({{"<|end|>", false}})), typed);
  EXPECT_EQ(tokenizer.encode(marked({{"<|e", true}, {"nd|>", false}})), typed);
  EXPECT_EQ(tokenizer.encode(marked({{"<|e", false}, {"nd|>", true}})), typed);
  EXPECT_EQ(tokenizer.encode(marked({{"<|end|>", true}})), Ids{300});
  EXPECT_EQ(tokenizer.encode(marked({{"<think>", true}, {"!", false}})), (Ids{301, '!'}));
  // Marks cut no word and no character.
  EXPECT_EQ(tokenizer.encode(marked({{"a", true}, {"b", false}, {"c", true}})), Ids{258});
  EXPECT_EQ(tokenizer.encode(marked({{"\xC3", true}, {"\xA9", false}})), Ids{259});
  EXPECT_EQ(tokenizer.encode(marked({{"e", true}, {"\xCC\x81", false}})), Ids{259});
  // Invalid bytes grow by two each, and the marks behind them move along.
  const MarkedText moved = marked({{"\xFF\xFF\xFF", false}, {"<|end|>", true}, {"<|end|>", false}});
  const Ids ids = tokenizer.encode(moved);
  EXPECT_EQ(ids.size(), 9 + 1 + 7);
  EXPECT_EQ(ids[9], 300);
}

TEST(Tokenizer, FlagsOfAddedTokens) {
  const Tokenizer tokenizer = build(small_tokenizer(
      {}, {added_token(300, "<l>", true, {"lstrip"}), added_token(301, "<r>", true, {"rstrip"}),
           added_token(302, "word", false, {"single_word"}), added_token(303, "e\xCC\x81", false, {"normalized"}),
           added_token(304, "K!", false, {"normalized"})}));
  EXPECT_EQ(tokenizer.encode("x \n\xC2\xA0<l> y"), (Ids{'x', 300, ' ', 'y'}));
  EXPECT_EQ(tokenizer.encode("x <r> \n\xE3\x80\x80y"), (Ids{'x', ' ', 301, 'y'}));
  EXPECT_EQ(tokenizer.encode("<r> <l>"), (Ids{301, 300}));
  EXPECT_EQ(tokenizer.encode("word,word"), (Ids{302, ',', 302}));
  EXPECT_EQ(tokenizer.encode("words sword word_ \xC3\xA9word").size(), 5 + 1 + 5 + 1 + 5 + 1 + 1 + 4);
  EXPECT_EQ(tokenizer.encode("x\xC3\xA9y"), (Ids{'x', 303, 'y'}));
  EXPECT_EQ(tokenizer.encode("xe\xCC\x81y"), (Ids{'x', 303, 'y'}));
  EXPECT_EQ(tokenizer.encode("\xE2\x84\xAA!"), Ids{304});  // the Kelvin sign is a K in NFC
  EXPECT_EQ(tokenizer.encode(marked({{"e", true}, {"\xCC\x81", false}})), (Ids{0xC3, 0xA9}));
  EXPECT_EQ(tokenizer.encode(marked({{"K!", true}, {"K!", false}, {"K!K!", true}})), (Ids{304, 'K', '!', 304, 304}));
}

TEST(Tokenizer, IgnoreMergesTakesWholeWords) {
  Json document = small_tokenizer({{"a", "b"}});
  document["model"]["vocab"][spell(" zoo")] = 400;
  EXPECT_EQ(build(document).encode("x zoo").size(), 5);
  document["model"]["ignore_merges"] = true;
  EXPECT_EQ(build(document).encode("x zoo"), (Ids{'x', 400}));
}

TEST(Tokenizer, ByteLevelAloneUsesItsOwnExpression) {
  Json document = small_tokenizer({{"4", "2"}});
  document["pre_tokenizer"] =
      Json::parse(R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true})", "");
  EXPECT_EQ(build(document).encode("42"), Ids{256});  // GPT-2 keeps numbers together, the small split does not
  document["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_THROW(build(document), Error);
}

TEST(Tokenizer, MergesAsStringsOrPairs) {
  Json document = usual();
  Json strings = Json::Array{};
  for (const Json& merge : document["model"]["merges"].as_array())
    strings.push_back(merge.as_array()[0].as_string() + " " + merge.as_array()[1].as_string());
  document["model"]["merges"] = strings;
  EXPECT_EQ(build(document).encode("abc ab"), build(usual()).encode("abc ab"));
}

TEST(Tokenizer, ThreadsShareIt) {
  const Tokenizer tokenizer = build(usual());
  const Ids expected = tokenizer.encode("abc ab<think> abcabc e\xCC\x81");
  std::vector<std::thread> threads;
  std::vector<int> good(4);
  for (size_t t = 0; t < good.size(); ++t)
    threads.emplace_back([&, t] {
      for (int round = 0; round < 100; ++round)
        good[t] += tokenizer.encode("abc ab<think> abcabc e\xCC\x81") == expected;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, std::vector<int>(4, 100));
}

// Each change makes a file that must be refused, with this code and a message that names the place.
TEST(Tokenizer, RefusesBadAndUnsupportedFiles) {
  struct Case {
    const char* what;
    Errc code;
    const char* names;
    void (*change)(Json&);
  };
  const Case cases[] = {
      {"no model", Errc::bad_file, "model", [](Json& d) { d["model"] = nullptr; }},
      {"other model", Errc::unsupported, "model.type", [](Json& d) { d["model"]["type"] = "Unigram"; }},
      {"dropout", Errc::unsupported, "dropout", [](Json& d) { d["model"]["dropout"] = 0.5; }},
      {"byte_fallback", Errc::unsupported, "byte_fallback", [](Json& d) { d["model"]["byte_fallback"] = true; }},
      {"suffix", Errc::unsupported, "end_of_word_suffix", [](Json& d) { d["model"]["end_of_word_suffix"] = "</w>"; }},
      {"vocab kind", Errc::bad_file, "vocab", [](Json& d) { d["model"]["vocab"] = 3; }},
      {"vocab empty", Errc::bad_file, "vocab", [](Json& d) { d["model"]["vocab"] = Json::Object{}; }},
      {"id negative", Errc::bad_file, "vocab", [](Json& d) { d["model"]["vocab"]["x"] = -1; }},
      {"id huge", Errc::bad_file, "vocab", [](Json& d) { d["model"]["vocab"]["x"] = 1 << 24; }},
      {"id no number", Errc::bad_file, "vocab", [](Json& d) { d["model"]["vocab"]["x"] = "1"; }},
      {"id twice", Errc::bad_file, "vocab", [](Json& d) { d["model"]["vocab"]["x"] = 7; }},
      {"merge kind", Errc::bad_file, "merges[5]", [](Json& d) { d["model"]["merges"].push_back(1); }},
      {"merge of one", Errc::bad_file, "merges[5]", [](Json& d) { d["model"]["merges"].push_back("ab"); }},
      {"merge of three", Errc::bad_file, "merges[5]", [](Json& d) { d["model"]["merges"].push_back("a b c"); }},
      {"merge of none", Errc::bad_file, "merges[5]", [](Json& d) { d["model"]["merges"].push_back("a nothing"); }},
      {"merge to none", Errc::bad_file, "merges[5]", [](Json& d) { d["model"]["merges"].push_back("y z"); }},
      {"unknown", Errc::unsupported, "unk_token",
       [](Json& d) {
         d["model"]["unk_token"] = "?";
         d["model"]["vocab"].as_object().erase(d["model"]["vocab"].as_object().begin());
       }},
      {"added id twice", Errc::bad_file, "added_tokens",
       [](Json& d) { d["added_tokens"].push_back(added_token(300, "other", false)); }},
      {"added content twice", Errc::bad_file, "added_tokens",
       [](Json& d) { d["added_tokens"].push_back(added_token(310, "<think>", false)); }},
      {"added against vocab", Errc::bad_file, "added_tokens",
       [](Json& d) { d["added_tokens"].push_back(added_token(5, "other", false)); }},
      {"added empty", Errc::bad_file, "content",
       [](Json& d) { d["added_tokens"].push_back(added_token(310, "", false)); }},
      {"normalizer", Errc::unsupported, "normalizer", [](Json& d) { d["normalizer"]["type"] = "Lowercase"; }},
      {"no pre_tokenizer", Errc::bad_file, "pre_tokenizer", [](Json& d) { d["pre_tokenizer"] = nullptr; }},
      {"behavior", Errc::unsupported, "behavior",
       [](Json& d) { d["pre_tokenizer"]["pretokenizers"].as_array()[0]["behavior"] = "Removed"; }},
      {"expression", Errc::unsupported, "Split",
       [](Json& d) { d["pre_tokenizer"]["pretokenizers"].as_array()[0]["pattern"]["Regex"] = "("; }},
      {"decoder", Errc::unsupported, "decoder", [](Json& d) { d["decoder"]["type"] = "Metaspace"; }},
      {"post_processor", Errc::unsupported, "post_processor",
       [](Json& d) {
         d["post_processor"] = Json::Object{{"type", Json("BertProcessing")}};
       }},
  };
  for (const Case& bad : cases) {
    Json document = usual();
    bad.change(document);
    try {
      build(document);
      ADD_FAILURE() << bad.what;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), bad.code) << bad.what << ": " << error.what();
      EXPECT_TRUE(std::string_view(error.what()).find(bad.names) != std::string_view::npos) << error.what();
      EXPECT_TRUE(std::string_view(error.what()).starts_with("tokenizer.json: ")) << error.what();
    }
  }
  EXPECT_THROW(Tokenizer::parse("{", "t"), Error);
  EXPECT_THROW(Tokenizer::parse("[]", "t"), Error);
  EXPECT_THROW(Tokenizer::load("/nonexistent"), Error);
}

TEST(Tokenizer, TruncatedFilesAreRefused) {
  const std::string whole = usual().dump();
  for (size_t size = 0; size < whole.size(); size += 13)
    EXPECT_THROW(Tokenizer::parse(std::string_view(whole).substr(0, size), "t"), Error) << size;
}

TEST(Detokenizer, NeverHalfACharacter) {
  const Tokenizer tokenizer = build(usual());
  Detokenizer stream(tokenizer);
  EXPECT_EQ(stream.add('x'), "x");
  EXPECT_EQ(stream.add(0xE4), "");
  EXPECT_EQ(stream.add(0xBD), "");
  EXPECT_EQ(stream.add(0xA0), "\xE4\xBD\xA0");
  EXPECT_EQ(stream.add(0xF0), "");
  EXPECT_EQ(stream.add(300), "\xEF\xBF\xBD<|end|>");
  EXPECT_EQ(stream.add(0xC3), "");
  EXPECT_EQ(stream.add(12345), "");
  EXPECT_EQ(stream.add(0xA9), "\xC3\xA9");
  EXPECT_EQ(stream.add(0xE4), "");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Detokenizer, AddsUpToDecode) {
  const Tokenizer tokenizer = build(usual());
  uint32_t state = 1;
  for (int round = 0; round < 3000; ++round) {
    Ids ids;
    for (int n = 0; n < 8; ++n) {
      state = state * 1664525 + 1013904223;
      const int32_t lead[] = {0xC3, 0xE0, 0xED, 0xF0, 0xF4, 0x80, 0x90, 0xA0, 0xBF, 'a', 300, 301, 259, 299};
      ids.push_back(lead[(state >> 16) % std::size(lead)]);
    }
    for (const bool skip : {false, true}) {
      Detokenizer stream(tokenizer, skip);
      std::string text;
      for (const int32_t id : ids) text += stream.add(id);
      ASSERT_EQ(text + stream.finish(), tokenizer.decode(ids, skip));
    }
  }
}

}  // namespace
}  // namespace inkstone
