#include "text/output_parser.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "base/json.h"
#include "text/json_scanner.h"

namespace inkstone {
namespace {

using Kind = OutputEvent::Kind;
using Events = std::vector<OutputEvent>;

constexpr OutputFormat kPlain{};
constexpr OutputFormat kInside{.starts_in_thinking = true};
constexpr OutputFormat kNoTools{.parse_tool_calls = false};

// Neighbours of one kind joined: what does not depend on the pieces.
Events merged(const Events& events) {
  Events out;
  for (const OutputEvent& event : events) {
    const bool text = event.kind != Kind::tool_call && event.kind != Kind::tool_call_end;
    if (text && !out.empty() && out.back().kind == event.kind && out.back().index == event.index)
      out.back().text += event.text;
    else
      out.push_back(event);
  }
  return out;
}

Events parse(const OutputFormat& format, const std::vector<std::string_view>& pieces) {
  OutputParser parser(format);
  Events events;
  for (const std::string_view piece : pieces) parser.feed(piece, events);
  parser.finish(events);
  for (const OutputEvent& event : events)
    EXPECT_TRUE(!event.text.empty() || event.kind == Kind::tool_call_end) << "an event without text";
  return merged(events);
}

std::string show(const Events& events) {
  std::string out;
  for (const OutputEvent& event : events) {
    static constexpr const char* kNames[] = {"T", "C", "call", "args", "end"};
    out += fmt::format("{}{}<{}> ", kNames[static_cast<int>(event.kind)],
                       event.kind < Kind::tool_call ? "" : std::to_string(event.index), event.text);
  }
  if (!out.empty()) out.pop_back();
  return out;
}

std::string shown(const OutputFormat& format, std::string_view text) { return show(parse(format, {text})); }

TEST(OutputParser, Thinking) {
  EXPECT_EQ(shown(kPlain, "<think>\nHm.\n</think>\n\nYes."), "T<Hm.\n> C<Yes.>");
  EXPECT_EQ(shown(kPlain, "\n \n<think>Hm.</think>Yes."), "T<Hm.> C<Yes.>");
  EXPECT_EQ(shown(kPlain, "<think>\n\n</think>\n\nYes."), "C<Yes.>");
  EXPECT_EQ(shown(kPlain, "<think></think>\n\n  indented"), "C<  indented>");
  EXPECT_EQ(shown(kPlain, "<think>\n\n  a\n\n b</think>"), "T<\n  a\n\n b>");
  EXPECT_EQ(shown(kPlain, "<think>a</thinK> b</think>c"), "T<a</thinK> b> C<c>");
  EXPECT_EQ(shown(kPlain, "<think>a<</think>c"), "T<a<> C<c>");
  EXPECT_EQ(shown(kPlain, "<think>a<think>b</think>c"), "T<a<think>b> C<c>");
  EXPECT_EQ(shown(kInside, "Hm.</think>\n\nYes."), "T<Hm.> C<Yes.>");
  EXPECT_EQ(shown(kInside, "\n</think>\n\nYes."), "C<Yes.>");
}

TEST(OutputParser, OnlyTheFirstBlockAtTheBeginningIsThinking) {
  EXPECT_EQ(shown(kPlain, "Well <think>a</think>"), "C<Well <think>a</think>>");
  EXPECT_EQ(shown(kPlain, "<think>a</think>b<think>c</think>"), "T<a> C<b<think>c</think>>");
  EXPECT_EQ(shown(kPlain, "a</think>b"), "C<a</think>b>");
  EXPECT_EQ(shown(kPlain, "<thin"), "C<<thin>");
  EXPECT_EQ(shown(kPlain, " \n<thinx"), "C< \n<thinx>");
  EXPECT_EQ(shown(kPlain, " \n"), "C< \n>");
  EXPECT_EQ(shown(kPlain, ""), "");
}

TEST(OutputParser, UnfinishedThinkingIsThinking) {
  EXPECT_EQ(shown(kPlain, "<think>\nHm"), "T<Hm>");
  EXPECT_EQ(shown(kPlain, "<think>\nHm</thi"), "T<Hm</thi>");
  EXPECT_EQ(shown(kInside, "\n</thi"), "T<</thi>");
  EXPECT_EQ(shown(kPlain, "<think>\n\n"), "");
  EXPECT_EQ(shown(kInside, "a <tool_call>"), "T<a <tool_call>>");
}

TEST(OutputParser, InThinkingFollowsTheStream) {
  OutputParser parser(kPlain);
  Events events;
  EXPECT_FALSE(parser.in_thinking());
  parser.feed("<think>", events);
  EXPECT_TRUE(parser.in_thinking());
  parser.feed("a</thin", events);
  EXPECT_TRUE(parser.in_thinking());
  parser.feed("k>", events);
  EXPECT_FALSE(parser.in_thinking());
  EXPECT_TRUE(OutputParser(kInside).in_thinking());
}

TEST(OutputParser, JsonCalls) {
  EXPECT_EQ(shown(kPlain, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>"),
            "call0<f> args0<{\"a\": 1}> end0<>");
  EXPECT_EQ(shown(kPlain, "<tool_call>{\"arguments\":{\"s\":\"}{\\\"]\"},\"name\":\"g\"}</tool_call>"),
            "call0<g> args0<{\"s\":\"}{\\\"]\"}> end0<>");
  EXPECT_EQ(shown(kPlain, "<tool_call> {\"name\":\"h\"} </tool_call>"), "call0<h> args0<{}> end0<>");
  EXPECT_EQ(
      shown(kPlain, "<tool_call>{\"id\": 1e3, \"name\":\"h\", \"x\": [{}, \"name\"], \"arguments\": {}}</tool_call>"),
      "call0<h> args0<{}> end0<>");
  EXPECT_EQ(shown(kPlain, R"(<tool_call>{"n\u0061me":"a\u00e9\ud83d\ude00\n\"","arguments":{}}</tool_call>)"),
            "call0<a\xC3\xA9\xF0\x9F\x98\x80\n\"> args0<{}> end0<>");
  EXPECT_EQ(shown(kPlain, R"(<tool_call>{"name":"\ud83dx\ude00","arguments":{}}</tool_call>)"),
            "call0<\xEF\xBF\xBDx\xEF\xBF\xBD> args0<{}> end0<>");
}

TEST(OutputParser, SeveralCallsAndTheTextAround) {
  const std::string call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>";
  EXPECT_EQ(shown(kPlain, "<think>\na\n</think>\n\n" + call + "\n" + call),
            "T<a\n> call0<f> args0<{}> end0<> call1<f> args1<{}> end1<>");
  EXPECT_EQ(shown(kPlain, "Sure.\n" + call + "\n\n"), "C<Sure.> call0<f> args0<{}> end0<>");
  EXPECT_EQ(shown(kPlain, "Sure. \n\n" + call + "\n Done \n"), "C<Sure. \n> call0<f> args0<{}> end0<> C<\n Done \n>");
  EXPECT_EQ(shown(kNoTools, "<think>x</think>\n\n " + call), "T<x> C< " + call + ">");
}

TEST(OutputParser, XmlCalls) {
  EXPECT_EQ(shown(kPlain,
                  "<tool_call>\n<function=f>\n<parameter=a>\nline 1\n\"line\" 2\n</parameter>\n"
                  "<parameter=b>\n[1, {\"x\": null}]\n</parameter>\n</function>\n</tool_call>"),
            "call0<f> args0<{\"a\": \"line 1\\n\\\"line\\\" 2\", \"b\": [1, {\"x\": null}]}> end0<>");
  const auto value = [](const std::string& written) {
    const Events events =
        parse(kPlain, {"<tool_call><function=f><parameter=k>" + written + "</parameter></function></tool_call>"});
    EXPECT_EQ(events.size(), 3) << show(events);
    return Json::parse(events.at(1).text, "arguments").find("k")->dump();
  };
  EXPECT_EQ(value("\n12\n"), "12");
  EXPECT_EQ(value("-1.5e3"), "-1500.0");
  EXPECT_EQ(value("007"), "\"007\"");
  EXPECT_EQ(value("1e999"), "\"1e999\"");
  EXPECT_EQ(value("123456789012345678901234567890"), "\"123456789012345678901234567890\"");
  EXPECT_EQ(value("true"), "true");
  EXPECT_EQ(value("True"), "\"True\"");
  EXPECT_EQ(value(" null "), "null");
  EXPECT_EQ(value("\"quoted\""), "\"\\\"quoted\\\"\"");
  EXPECT_EQ(value("{\"a\": 1, \"a\": 2}"), "\"{\\\"a\\\": 1, \\\"a\\\": 2}\"");
  EXPECT_EQ(value("{broken"), "\"{broken\"");
  EXPECT_EQ(value(""), "\"\"");
  EXPECT_EQ(value("\n\n a \n\n"), "\"\\n a \\n\"");
  EXPECT_EQ(value("<</parameter ></b>"), "\"<</parameter ></b>\"");
  EXPECT_EQ(shown(kPlain, "<tool_call><function=now></function></tool_call>"), "call0<now> args0<{}> end0<>");
}

TEST(OutputParser, BadCallsEndAsContentAsTheyStood) {
  for (const std::string text :
       {"<tool_call>", "<tool_call>\n", "<tool_call>x", "<tool_call>{", "<tool_call>{}</tool_call>",
        "<tool_call>[]</tool_call>", "<tool_call>{\"name\": 1}</tool_call>", "<tool_call>{\"name\": \"\"}</tool_call>",
        "<tool_call>{\"arguments\": {}}</tool_call>", "<tool_call>{\"arguments\": 1}</tool_call>",
        "<tool_call>{'name': 'f'}</tool_call>", "<tool_call><function=></function></tool_call>",
        "<tool_call><function=f", "<tool_call><functions>", "<tool_call>{\"name", "  <tool_call>{\"a\":\n",
        "a\n\n<tool_call>{,}", "<tool_call></tool_call>"})
    EXPECT_EQ(shown(kPlain, text), "C<" + text + ">");
  // What was out already stays without an end, and the whole call follows as content.
  EXPECT_EQ(shown(kPlain, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": tru}}</tool_call>"),
            "call0<f> args0<{\"a\": tru> C<<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": tru}}</tool_call>>");
  EXPECT_EQ(shown(kPlain, "<tool_call>{\"name\": \"f\", \"name\": \"g\"}"),
            "call0<f> C<<tool_call>{\"name\": \"f\", \"name\": \"g\"}>");
  EXPECT_EQ(shown(kPlain, "<tool_call><function=f><parameter=a>1</parameter><parameter=a>"),
            "call0<f> args0<{\"a\": 1> C<<tool_call><function=f><parameter=a>1</parameter><parameter=a>>");
}

TEST(OutputParser, AGoodCallFollowsABadOne) {
  const std::string good = "<tool_call>{\"name\":\"f\"}</tool_call>";
  EXPECT_EQ(shown(kPlain, "<tool_call>\n" + good), "C<<tool_call>\n> call0<f> args0<{}> end0<>");
  EXPECT_EQ(shown(kPlain, "<tool_call>{\"name\":\"g\"" + good),
            "call0<g> C<<tool_call>{\"name\":\"g\"> call1<f> args1<{}> end1<>");
}

TEST(OutputParser, ArgumentsStreamAsTheyGrow) {
  OutputParser parser(kPlain);
  Events events;
  parser.feed("<tool_call>{\"name\": \"f\"", events);
  EXPECT_EQ(show(events), "call0<f>");
  parser.feed(", \"arguments\": {\"a\": \"x", events);
  EXPECT_EQ(show(events), "call0<f> args0<{\"a\": \"x>");
  parser.feed("y", events);
  EXPECT_EQ(show(events), "call0<f> args0<{\"a\": \"x> args0<y>");
}

TEST(OutputParser, DeepNestingIsRefusedNotRecursed) {
  const std::string open = "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":" + std::string(200000, '[');
  const Events events = parse(kPlain, {open});
  ASSERT_EQ(events.back().kind, Kind::content);
  EXPECT_EQ(events.back().text, open);
}

// Texts made of the pieces that matter, so that most of them come near a marker.
std::string random_text(std::mt19937& random) {
  static const char* const kParts[] = {"<think>",
                                       "</think>",
                                       "<tool_call>",
                                       "</tool_call>",
                                       "\n",
                                       " ",
                                       "<",
                                       "</",
                                       "{\"name\": \"f\"",
                                       ", \"arguments\": ",
                                       "{\"a\": [1, \"}\", {}]}",
                                       "}",
                                       "{\"name\": \"g\", \"arguments\": {\"k\": \"v\\\"\"}}",
                                       "<function=f>",
                                       "</function>",
                                       "<parameter=a>",
                                       "<parameter=b>",
                                       "</parameter>",
                                       "text",
                                       "\xC3\xA9",
                                       "\xFF",
                                       "{",
                                       "\"",
                                       "12",
                                       "<t",
                                       "\\",
                                       "\r\n"};
  std::string text;
  if (random() % 4 == 0) text += "<tool_call>{\"name\": \"f\", \"arguments\": ";
  for (size_t n = random() % 14; n > 0; --n) text += kParts[random() % std::size(kParts)];
  if (random() % 3 == 0)
    text += "\n<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>";
  return text;
}

TEST(OutputParser, PiecesDoNotMatter) {
  std::mt19937 random(11);
  for (int round = 0; round < 1500; ++round) {
    const std::string text = random_text(random);
    for (const OutputFormat& format : {kPlain, kInside, kNoTools}) {
      const Events whole = parse(format, {text});
      const std::string_view view = text;
      for (size_t cut = 0; cut <= text.size(); ++cut)
        ASSERT_EQ(parse(format, {view.substr(0, cut), view.substr(cut)}), whole) << text << " cut at " << cut;
      std::vector<std::string_view> bytes, pieces;
      for (size_t i = 0; i < text.size(); ++i) bytes.push_back(view.substr(i, 1));
      ASSERT_EQ(parse(format, bytes), whole) << text;
      for (size_t i = 0; i < text.size();) {
        pieces.push_back(view.substr(i, random() % 7));
        i += pieces.back().size();
      }
      ASSERT_EQ(parse(format, pieces), whole) << text;
    }
  }
}

// What ended as a call has arguments that are a JSON object; without calls and thinking, nothing of the text is lost.
TEST(OutputParser, FinishedCallsAreWhole) {
  std::mt19937 random(12);
  int finished = 0;
  for (int round = 0; round < 20000; ++round) {
    const std::string text = random_text(random);
    std::string arguments;
    for (const OutputEvent& event : parse(kPlain, {text})) {
      if (event.kind == Kind::tool_call) arguments.clear();
      if (event.kind == Kind::tool_call_arguments) arguments += event.text;
      if (event.kind != Kind::tool_call_end) continue;
      ++finished;
      if (text.find('\xFF') == std::string::npos) {
        EXPECT_TRUE(Json::parse(arguments, "a").is_object()) << text;
      }
    }
  }
  EXPECT_GT(finished, 100);
}

TEST(JsonScanner, AgreesWithTheParser) {
  std::mt19937 random(5);
  const char* const parts[] = {"{",  "}",    "[", "]",  ",",  ":",        "\"a\"",  "\"\\u00e9\"", "\"\\",
                               "\"", "1",    "-", "0",  ".5", "e",        "+",      "true",        "fals",
                               "e",  "null", " ", "\n", "x",  "\"b\": 2", "-0.1e-5"};
  int accepted = 0;
  for (int round = 0; round < 200000; ++round) {
    std::string text;
    for (size_t n = 1 + random() % 7; n > 0; --n) text += parts[random() % std::size(parts)];
    bool parsed = true;
    try {
      Json::parse(text, "t");
    } catch (const std::exception& error) {
      parsed = std::string_view(error.what()).find("stands twice") != std::string_view::npos;
    }
    ASSERT_EQ(JsonScanner::is_value(text), parsed) << text;
    accepted += parsed;
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace inkstone
