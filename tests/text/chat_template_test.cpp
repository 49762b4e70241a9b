// Where a chat template comes from, and what it sees.
#include "text/chat_template.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace inkstone {
namespace {

namespace fs = std::filesystem;

class ChatTemplateFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("chat_template_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const char* name, const std::string& text) { std::ofstream(folder_ / name, std::ios::binary) << text; }
  std::string rendered() const {
    return ChatTemplate::load(folder_).render(Json::parse(R"([{"role": "user", "content": "hi"}])", ""), {}, {}).text;
  }
  Errc error() const {
    try {
      rendered();
    } catch (const Error& failure) {
      return failure.code();
    }
    return Errc::internal;
  }

  fs::path folder_;
};

TEST_F(ChatTemplateFiles, JinjaFileComesFirst) {
  write("chat_template.jinja", "{{ bos_token }}{{ messages[0].content }}");
  write("tokenizer_config.json", R"({"bos_token": "<s>", "chat_template": "other"})");
  EXPECT_EQ(rendered(), "<s>hi");
  EXPECT_EQ(ChatTemplate::load(folder_).source(), "{{ bos_token }}{{ messages[0].content }}");
}

TEST_F(ChatTemplateFiles, ConfigStringWithTokenObjects) {
  write("tokenizer_config.json", R"({"bos_token": {"__type": "AddedToken", "content": "<b>"}, "eos_token": null,
    "additional_special_tokens": ["<x>", {"content": "<y>"}],
    "chat_template": "{{ bos_token }}{{ additional_special_tokens | join }}{{ eos_token is defined }}"})");
  EXPECT_EQ(rendered(), "<b><x><y>False");
}

TEST_F(ChatTemplateFiles, ConfigListHasADefault) {
  write("tokenizer_config.json", R"({"chat_template": [{"name": "tool_use", "template": "t"},
    {"name": "default", "template": "d{{ messages | length }}"}]})");
  EXPECT_EQ(rendered(), "d1");
  write("tokenizer_config.json", R"({"chat_template": [{"name": "tool_use", "template": "t"}]})");
  EXPECT_EQ(error(), Errc::not_found);
}

TEST_F(ChatTemplateFiles, Errors) {
  EXPECT_EQ(error(), Errc::not_found);
  write("tokenizer_config.json", R"({"bos_token": "<s>"})");
  EXPECT_EQ(error(), Errc::not_found);
  write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_EQ(error(), Errc::bad_file);
  write("tokenizer_config.json", "{");
  EXPECT_EQ(error(), Errc::bad_file);
  write("chat_template.jinja", "{% if %}");
  write("tokenizer_config.json", "{}");
  EXPECT_EQ(error(), Errc::template_error);
}

TEST(ChatTemplate, SeesItsArguments) {
  const auto parsed = ChatTemplate::parse(
      "{{ messages | length }} {{ tools is none }} {{ documents is none }} {{ flag }} {{ absent is defined }}", Json(),
      "t");
  Json kwargs;
  kwargs["flag"] = Json(true);
  EXPECT_EQ(parsed.render(Json(Json::Array()), Json(), kwargs).text, "0 True True True False");
}

TEST(ChatTemplate, BytesThatAreNoTextFail) {
  EXPECT_THROW(ChatTemplate::parse("a\xff", Json(), "t"), Error);
  const std::string nul("a\0b", 3);
  EXPECT_EQ(ChatTemplate::parse(nul, Json(), "t").render({}, {}, {}).text, nul);
}

}  // namespace
}  // namespace inkstone
