// Chat templates against what transformers' Jinja2 makes of them: every byte, every error. Scans
// <fixtures>/chat: qwen3.json with templates/, other_templates.json with other_templates/, more_templates/.
#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <sstream>

#include "base/error.h"
#include "tests/golden/fixture_folder.h"
#include "text/chat_template.h"

namespace inkstone {
namespace {

namespace fs = std::filesystem;

fs::path chat_folder() { return fixture_root() / "chat"; }

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Json member(const Json& object, std::string_view name) {
  const Json* found = object.find(name);
  return found ? *found : Json();
}

struct Case {
  fs::path path;
  Json variables, messages, tools, kwargs;
  Json expected;  // a string, or {"error", "message"}
  RenderOptions options;
};

MarkedText rendered(const Case& given) {
  const auto parsed = ChatTemplate::parse(read(given.path), given.variables, given.path.filename().string());
  return parsed.render(given.messages, given.tools, given.kwargs, given.options);
}

// Runs cover the text, in order, merged.
void expect_sound_runs(const MarkedText& text) {
  size_t end = 0;
  for (size_t i = 0; i < text.runs.size(); ++i) {
    EXPECT_GT(text.runs[i].end, end);
    end = text.runs[i].end;
    if (i > 0) {
      EXPECT_NE(text.runs[i].from_template, text.runs[i - 1].from_template);
    }
  }
  EXPECT_EQ(end, text.text.size());
}

class GoldenTest : public testing::Test {
 public:
  explicit GoldenTest(Case given) : case_(std::move(given)) {}
  void TestBody() override {
    if (case_.expected.is_object()) {
      EXPECT_THROW(rendered(case_), Error) << "the reference raises " << case_.expected.dump();
      return;
    }
    const MarkedText text = rendered(case_);
    EXPECT_EQ(text.text, case_.expected.as_string());
    expect_sound_runs(text);
  }

 private:
  Case case_;
};

// No golden: what is rendered must be sound, what fails must be the template's own refusal.
class RefusalTest : public testing::Test {
 public:
  explicit RefusalTest(Case given) : case_(std::move(given)) {}
  void TestBody() override {
    const std::string source = read(case_.path);
    try {
      const MarkedText text = rendered(case_);
      expect_sound_runs(text);
      EXPECT_FALSE(text.text.empty());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::template_error);
      EXPECT_TRUE(raised_by(source, error.what()) || forbidden(error.what()) || needs_tools(error.what()))
          << error.what();
    }
  }

 private:
  // The longest literal of a raise_exception in the source that is part of the message proves it.
  static bool raised_by(const std::string& source, std::string_view message) {
    for (size_t at = 0; (at = source.find("raise_exception(", at)) != std::string::npos; ++at) {
      const size_t open = source.find_first_of("'\"", at);
      if (open == std::string::npos) return false;
      const size_t close = source.find(source[open], open + 1);
      const std::string literal = source.substr(open + 1, close - open - 1);
      if (!literal.empty() && message.find(literal) != std::string_view::npos) return true;
    }
    return false;
  }
  // What the reference's sandbox refuses, too: changing a list.
  static bool forbidden(std::string_view message) { return message.find("is unsafe") != std::string_view::npos; }

  // A template for tool use that walks the list of tools without asking whether there is one.
  bool needs_tools(std::string_view message) const {
    return case_.tools.is_null() && message.ends_with("'NoneType' object is not iterable");
  }

  Case case_;
};

template <class Test>
void add(const std::string& suite, const std::string& name, const Case& given) {
  std::string clean;
  for (const char c : name) clean += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  testing::RegisterTest(suite.c_str(), clean.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                        [given]() -> testing::Test* { return new Test(given); });
}

int add_qwen3(const fs::path& chat) {
  const Json file = Json::parse(read(chat / "qwen3.json"), "qwen3.json");
  int count = 0;
  for (const Json& entry : file.find("cases")->as_array())
    for (const auto& [name, expected] : entry.find("outputs")->as_object()) {
      const Case given{chat / "templates" / (name + ".jinja"),
                       member(file, "special_tokens"),
                       member(entry, "messages"),
                       member(entry, "tools"),
                       member(entry, "kwargs"),
                       expected,
                       {}};
      add<GoldenTest>("ChatQwen3", name + "_" + entry.find("name")->as_string(), given);
      ++count;
    }
  return count;
}

int add_others(const fs::path& chat) {
  const Json file = Json::parse(read(chat / "other_templates.json"), "other_templates.json");
  RenderOptions options;
  std::tm now{};
  std::istringstream(member(file, "strftime_now").as_string()) >> std::get_time(&now, "%Y-%m-%dT%H:%M:%S");
  now.tm_isdst = -1;
  std::mktime(&now);
  options.now = now;
  int count = 0;
  for (const auto& [name, cases] : file.find("templates")->as_object())
    for (const Json& entry : cases.as_array()) {
      const Json* output = entry.find("output");
      const Case given{chat / "other_templates" / (name + ".jinja"),
                       member(file, "special_tokens"),
                       member(entry, "messages"),
                       member(entry, "tools"),
                       member(entry, "kwargs"),
                       output ? *output : entry,
                       options};
      add<GoldenTest>("ChatOther", name + "_" + entry.find("name")->as_string(), given);
      ++count;
    }
  return count;
}

int add_more(const fs::path& chat) {
  static constexpr const char* kTools = R"([{"type": "function", "function": {"name": "weather", "description":
    "Tells the weather.", "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Where"},
    "days": {"type": "integer", "description": "How many", "enum": [1, 3]}}, "required": ["city"]}}}])";
  static constexpr const char* kCall = R"({"role": "assistant", "content": "", "tool_calls": [{"type": "function",
    "id": "call00001", "function": {"name": "weather", "arguments": {"city": "Rome", "days": 3}}}]})";
  const std::string user = R"({"role": "user", "content": "Hello there"})";
  const std::string answer = R"({"role": "assistant", "content": "Hi"})";
  const std::string system = R"({"role": "system", "content": "Be kind."})";
  const std::string result = R"({"role": "tool", "tool_call_id": "call00001", "name": "weather", "content": "sunny"})";
  struct Talk {
    const char* name;
    std::string messages;
    bool tools;
  };
  const Talk talks[] = {{"single", user, false},
                        {"system", system + "," + user, false},
                        {"turns", user + "," + answer + "," + user, false},
                        {"system_turns", system + "," + user + "," + answer + "," + user, false},
                        {"tools", user, true},
                        {"tool_call", user + "," + kCall, true},
                        {"tool_result", user + "," + kCall + "," + result, true},
                        {"tool_answer", user + "," + kCall + "," + result + "," + answer, true}};
  int count = 0;
  for (const auto& file : fs::directory_iterator(chat / "more_templates")) {
    if (file.path().extension() != ".jinja") continue;
    for (const Talk& talk : talks) {
      Case given;
      given.path = file.path();
      given.variables["bos_token"] = Json("<s>");
      given.variables["eos_token"] = Json("</s>");
      given.messages = Json::parse("[" + talk.messages + "]", talk.name);
      if (talk.tools) given.tools = Json::parse(kTools, "tools");
      given.kwargs["add_generation_prompt"] = Json(true);
      add<RefusalTest>("ChatMore", file.path().stem().string() + "_" + talk.name, given);
      ++count;
    }
  }
  return count;
}

TEST(ChatGolden, FixturesArePresent) {
  if (!fs::exists(chat_folder())) GTEST_SKIP() << "no folder " << chat_folder();
  EXPECT_TRUE(fs::exists(chat_folder() / "qwen3.json") || fs::exists(chat_folder() / "other_templates.json") ||
              fs::exists(chat_folder() / "more_templates"));
}

[[maybe_unused]] const int registered = [] {
  const fs::path chat = chat_folder();
  int count = 0;
  if (fs::exists(chat / "qwen3.json")) count += add_qwen3(chat);
  if (fs::exists(chat / "other_templates.json")) count += add_others(chat);
  if (fs::exists(chat / "more_templates")) count += add_more(chat);
  return count;
}();

}  // namespace
}  // namespace inkstone
