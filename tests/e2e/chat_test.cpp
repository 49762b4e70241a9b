// inkstone chat: through pipes, as a script uses it, and on a terminal, as people do.
#include <gtest/gtest.h>

#include <algorithm>

#include "process.h"

namespace inkstone::e2e {
namespace {

// The end tokens and the mark that opens thinking, forbidden: answers have the length that the test wants.
const std::string kNoEnd = "--logit-bias=256=-1000,257=-1000,258=-1000,259=-1000,263=-1000";

Outcome chat(const std::string& lines, const Arguments& more = {}) {
  Arguments all{"chat"};
  all.insert(all.end(), more.begin(), more.end());
  return run(all, {.input = lines});
}

// The messages of a conversation that /save wrote.
Json::Array saved_messages(const std::string& path) {
  const Json file = Json::parse(read_text(path), path);
  const Json* messages = file.find("messages");
  EXPECT_TRUE(messages != nullptr && messages->is_array());
  return messages != nullptr ? messages->as_array() : Json::Array();
}

std::string field(const Json& message, const char* name) {
  const Json* value = message.find(name);
  return value != nullptr && value->is_string() ? value->as_string() : "(absent)";
}

TEST(ChatPipes, AnswersEachLineAndLeavesAtTheEnd) {
  const TempFolder home;
  const Outcome outcome = chat("Hello\n\n  \nAnd now?\n/save " + home.file("talk.json") + "\n", {"--no-think"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_FALSE(outcome.out.empty());
  EXPECT_EQ(outcome.out.find("> "), std::string::npos) << "a prompt without a terminal";
  const Json::Array messages = saved_messages(home.file("talk.json"));
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(field(messages[0], "content"), "Hello");
  EXPECT_EQ(field(messages[2], "content"), "And now?");
  EXPECT_EQ(field(messages[1], "role"), "assistant");
  // What was printed is what the messages have.
  EXPECT_EQ(outcome.out, field(messages[1], "content") + "\n" + field(messages[3], "content") + "\n");
}

TEST(ChatPipes, HelpAndSettingsGoToStderr) {
  const Outcome outcome = chat("/help\n/set temp 0\n/set\n/set temp default\n/set\n/bye\nnever read\n");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  for (const char* part : {"/save FILE", "/bye", "temp                0\n", "temp                0 (default)\n",
                           "top_k               20 (default)\n"})
    EXPECT_NE(outcome.err.find(part), std::string::npos) << part << "\n" << outcome.err;
}

TEST(ChatPipes, SettingsCount) {
  const auto text = [](const std::string& settings) {
    const Outcome outcome = chat(settings + "Hello\n", {"-n", "40", kNoEnd});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.out;
  };
  EXPECT_EQ(text("/set temp 0\n"), text("/set temp 0\n"));
  EXPECT_EQ(text("/set temp 2\n/set seed 5\n"), text("/set temp 2\n/set seed 5\n"));
  EXPECT_LT(text("/set max_tokens 2\n").size(), text("/set temp 0\n").size());
}

TEST(ChatPipes, SavedConversationGoesOnInAnotherProcess) {
  const TempFolder home;
  const std::string file = home.file("talk.json"), whole = home.file("whole.json");
  const Arguments flags{"-n", "12", "--temp", "0", kNoEnd};
  const std::string settings = "/system Be brief.\n";
  EXPECT_EQ(chat(settings + "One\nTwo\n/save " + whole + "\n", flags).code, 0);
  EXPECT_EQ(chat(settings + "One\n/save " + file + "\n", flags).code, 0);
  const Json saved = Json::parse(read_text(file), file);
  EXPECT_EQ(field(saved, "system"), "Be brief.");
  const Outcome loaded = chat("/load " + file + "\nTwo\n/save " + file + "\n", flags);
  EXPECT_EQ(loaded.code, 0) << loaded.err;
  EXPECT_NE(loaded.err.find("2 messages"), std::string::npos) << loaded.err;
  EXPECT_EQ(read_text(file), read_text(whole));
}

TEST(ChatPipes, ClearForgets) {
  const TempFolder home;
  const std::string file = home.file("talk.json");
  EXPECT_EQ(chat("One\n/clear\nTwo\n/save " + file + "\n", {"-n", "4", "--temp", "0", kNoEnd}).code, 0);
  const Json::Array messages = saved_messages(file);
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(field(messages[0], "content"), "Two");
}

TEST(ChatPipes, ThinkingCanBeTurnedOff) {
  const Arguments flags{"-n", "6", "--temp", "0", kNoEnd};
  EXPECT_EQ(chat("/no_think\nHello\n/think\nHello\n", flags).code, 0);
}

TEST(ChatPipes, SeveralLinesBetweenQuotes) {
  const TempFolder home;
  const std::string file = home.file("talk.json");
  const Outcome outcome = chat("\"\"\"\nfirst\n\n/bye is text\nlast\"\"\"\n\"\"\"one\"\"\"\n/save " + file + "\n",
                               {"-n", "4", "--temp", "0", kNoEnd});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const Json::Array messages = saved_messages(file);
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(field(messages[0], "content"), "first\n\n/bye is text\nlast");
  EXPECT_EQ(field(messages[2], "content"), "one");
}

TEST(ChatPipes, ErrorsEndTheRunWithTheirCode) {
  const TempFolder home;
  write_text(home.file("not.json"), "{");
  write_text(home.file("other.json"), "{\"messages\": [1, \"a\", {\"role\": 5}]}");
  write_text(home.file("array.json"), "[]");
  write_text(home.file("bare.json"), "{\"messages\": [{\"role\": \"user\"}]}");
  const std::pair<std::string, int> cases[] = {{"/frobnicate", 2},
                                               {"/set temp", 2},
                                               {"/set temp x", 2},
                                               {"/set temp -1", 2},
                                               {"/set nothing 1", 2},
                                               {"/set max_tokens 0", 2},
                                               {"/save", 2},
                                               {"/load", 2},
                                               {"/load " + home.file("absent.json"), 3},
                                               {"/load " + home.file("not.json"), 4},
                                               {"/load " + home.file("other.json"), 4},
                                               {"/load " + home.file("array.json"), 4},
                                               {"/load " + home.file("bare.json"), 4},
                                               {"/save " + home.file("no/such/folder.json"), 9}};
  const std::string folder = write_model(home);
  for (const auto& [line, code] : cases) {
    const Outcome outcome = chat(line + "\nHello\n", {"-m", folder, "-n", "2"});
    EXPECT_EQ(outcome.code, code) << line << "\n" << outcome.err;
    EXPECT_TRUE(outcome.err.starts_with("inkstone: ")) << outcome.err;
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    EXPECT_EQ(outcome.out, "") << line;
  }
}

TEST(ChatPipes, ConversationThatOutgrowsTheContext) {
  const Outcome outcome = chat(std::string(200, 'a') + "\n", {"-c", "64", "-n", "4"});
  EXPECT_EQ(outcome.code, 7) << outcome.err;
}

TEST(ChatPipes, WithoutAVerbItIsChat) {
  EXPECT_EQ(run({}, {.input = "/bye\n"}).code, 0);
  EXPECT_EQ(run({}, {.input = ""}).code, 0);
}

// Long enough that Ctrl-C finds it at work on any machine; the context's end bounds it.
const Arguments kEndless{"chat", "--temp", "1", "-t", "1", kNoEnd};
const Arguments kShort{"chat", "-n", "8", "--temp", "0", kNoEnd};

TEST(ChatTerminal, PromptAnswerAndLeave) {
  Terminal terminal(kShort);
  ASSERT_TRUE(terminal.expect("/help lists the commands")) << terminal.screen();
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.send("Hello\r");
  ASSERT_TRUE(terminal.expect("(stopped at the token limit)")) << terminal.screen();
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.send("/frobnicate\r");
  ASSERT_TRUE(terminal.expect("no such command")) << terminal.screen();
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.send("/bye\r");
  EXPECT_EQ(terminal.wait(), 0) << terminal.screen();
  EXPECT_TRUE(terminal.is_sane());
  EXPECT_NE(terminal.screen().find("\x1b[2m"), std::string::npos) << "nothing was dimmed";
}

TEST(ChatTerminal, ControlCStopsTheAnswerOnly) {
  Terminal terminal(kEndless);
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  for (int round = 0; round < 2; ++round) {
    terminal.send("Hello\r");
    ASSERT_TRUE(terminal.expect("\n")) << terminal.screen();
    const size_t before = terminal.screen().size();
    for (int i = 0; i < 400 && terminal.screen().size() < before + 200; ++i) terminal.drain(0.05);
    terminal.send(kCtrlC);
    ASSERT_TRUE(terminal.expect("(stopped)")) << terminal.screen();
    ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  }
  terminal.send("/bye\r");
  EXPECT_EQ(terminal.wait(), 0);
  EXPECT_TRUE(terminal.is_sane());
}

TEST(ChatTerminal, ControlCTwiceAtThePromptLeaves) {
  Terminal terminal(kShort);
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.settle();
  terminal.send(kCtrlC);
  ASSERT_TRUE(terminal.expect("Ctrl-C again")) << terminal.screen();
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.settle();
  terminal.send(kCtrlC);
  EXPECT_EQ(terminal.wait(), 0) << terminal.screen();
  EXPECT_TRUE(terminal.is_sane());
}

TEST(ChatTerminal, ControlCTakesBackWhatWasTyped) {
  Terminal terminal(kShort);
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.settle();
  terminal.send("/frobn");
  terminal.settle();
  terminal.send(kCtrlC);
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.settle();
  terminal.send("/bye\r");
  EXPECT_EQ(terminal.wait(), 0) << terminal.screen();
  EXPECT_EQ(terminal.screen().find("no such command"), std::string::npos) << terminal.screen();
}

TEST(ChatTerminal, ControlCTakesBackAMessageOfSeveralLines) {
  Terminal terminal(kShort);
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.settle();
  terminal.send("\"\"\"\rfirst\r");
  ASSERT_TRUE(terminal.expect(". ")) << terminal.screen();
  terminal.settle();
  terminal.send(kCtrlC);
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.settle();
  terminal.send("/bye\r");
  EXPECT_EQ(terminal.wait(), 0) << terminal.screen();
  EXPECT_EQ(terminal.screen().find("token limit"), std::string::npos) << "it was asked: " << terminal.screen();
}

TEST(ChatTerminal, ControlCTwiceAtOnceLeavesTheTerminalAsItWas) {
  Terminal terminal(kShort);
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.settle();
  EXPECT_FALSE(terminal.is_sane()) << "the editor reads keys one by one";
  terminal.send("\x03\x03\x03");
  terminal.settle();
  terminal.send("\x03\x03\x03");
  const int code = terminal.wait();
  EXPECT_TRUE(code == 0 || code == 130) << code;
  EXPECT_TRUE(terminal.is_sane());
}

TEST(ChatTerminal, LettersBeyondAsciiAndLongLines) {
  const TempFolder home;
  const std::string file = home.file("talk.json"), text = "\xc3\xa9t\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd";
  const std::string line(600, 'x');
  Terminal terminal(kShort);
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.settle();
  for (const std::string& message : {text, line}) {
    terminal.send(message + "\r");
    ASSERT_TRUE(terminal.expect("(stopped at the token limit)")) << terminal.screen();
    ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
    terminal.settle();
  }
  terminal.send("/save " + file + "\r/bye\r");
  EXPECT_EQ(terminal.wait(), 0);
  const Json::Array messages = saved_messages(file);
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(field(messages[0], "content"), text);
  EXPECT_EQ(field(messages[2], "content"), line);
}

TEST(ChatTerminal, ControlDLeaves) {
  Terminal terminal(kShort);
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.settle();
  terminal.send(kCtrlD);
  EXPECT_EQ(terminal.wait(), 0) << terminal.screen();
  EXPECT_TRUE(terminal.is_sane());
}

TEST(ChatTerminal, UpRecallsTheLastLine) {
  Terminal terminal(kShort);
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.settle();
  terminal.send("/frobnicate\r");
  ASSERT_TRUE(terminal.expect("no such command")) << terminal.screen();
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.settle();
  terminal.send(kUp);
  ASSERT_TRUE(terminal.expect("/frobnicate")) << terminal.screen();
  terminal.send("\r");
  ASSERT_TRUE(terminal.expect("no such command")) << terminal.screen();
  terminal.send("/bye\r");
  EXPECT_EQ(terminal.wait(), 0);
}

TEST(ChatTerminal, NoColorMeansNone) {
  Terminal terminal(kShort, {.variables = {{"NO_COLOR", "1"}}});
  ASSERT_TRUE(terminal.expect("/help lists the commands")) << terminal.screen();
  ASSERT_TRUE(terminal.expect("> ")) << terminal.screen();
  terminal.send("Hello\r");
  ASSERT_TRUE(terminal.expect("(stopped at the token limit)")) << terminal.screen();
  terminal.send("/bye\r");
  EXPECT_EQ(terminal.wait(), 0);
  EXPECT_EQ(terminal.screen().find("\x1b[2m"), std::string::npos);
  EXPECT_EQ(terminal.screen().find("\x1b[0m"), std::string::npos);
}

TEST(GenerateTerminal, ControlCEndsWithItsCode) {
  Terminal terminal({"generate", "-p", "Hello", "--temp", "1", "-t", "1", kNoEnd});
  ASSERT_TRUE(terminal.expect("qwen3:0.6b.")) << terminal.screen();
  const size_t before = terminal.screen().size();
  for (int i = 0; i < 400 && terminal.screen().size() < before + 200; ++i) terminal.drain(0.05);
  terminal.send(kCtrlC);
  EXPECT_EQ(terminal.wait(), 130) << terminal.screen();
  EXPECT_NE(terminal.screen().find("inkstone: interrupted"), std::string::npos);
  EXPECT_TRUE(terminal.is_sane());
}

// A model writes what it likes: on a terminal none of it may be an escape.
TEST(GenerateTerminal, ControlCharactersOfTheAnswerAreDropped) {
  const Json escape = run_json({"tokenize", "--json"}, {.input = "\x1b"});
  const std::string id = escape.as_array().at(0).dump();
  const Arguments arguments{"generate", "-p", "Hello", "-n", "20", "--temp", "0", "--logit-bias", id + "=1000"};
  Terminal terminal(arguments, {.variables = {{"NO_COLOR", "1"}}});
  EXPECT_EQ(terminal.wait(), 0);
  EXPECT_EQ(terminal.screen().find('\x1b'), std::string::npos);
  // Through a pipe the text is the model's own.
  EXPECT_EQ(run(arguments).out, std::string(20, '\x1b') + "\n");
}

}  // namespace
}  // namespace inkstone::e2e
