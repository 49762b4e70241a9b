// The language: every case of tests/data/jinja_cases.json renders as Jinja2 3.1 does in transformers' environment
// (null: Jinja2 raises), and the deviations that are on purpose.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/error.h"
#include "text/chat_template.h"

namespace inkstone {
namespace {

RenderOptions fixed_time() {
  std::tm now{};
  now.tm_year = 126;
  now.tm_mday = 15;
  now.tm_hour = 10;
  now.tm_min = 30;
  now.tm_isdst = -1;
  std::mktime(&now);
  RenderOptions options;
  options.now = now;
  return options;
}

std::string render(const std::string& source, const Json& context = Json::Object()) {
  return ChatTemplate::parse(source, Json(), "test").render({}, {}, context, fixed_time()).text;
}

std::string error_of(const std::string& source, const Json& context = Json::Object()) {
  try {
    return "no error: " + render(source, context);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::template_error);
    return error.what();
  }
}

TEST(JinjaLanguage, RendersAsTheReference) {
  std::ifstream file(INKSTONE_SOURCE_DIR "/tests/data/jinja_cases.json", std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  const Json data = Json::parse(text.str(), "jinja_cases.json");
  const Json& context = *data.find("context");
  size_t count = 0;
  for (const Json& entry : data.find("cases")->as_array()) {
    const std::string& source = entry.as_array()[0].as_string();
    const Json& expected = entry.as_array()[1];
    SCOPED_TRACE(source);
    if (expected.is_null()) {
      EXPECT_THROW(render(source, context), Error);
    } else {
      std::string out;
      EXPECT_NO_THROW(out = render(source, context));
      EXPECT_EQ(out, expected.as_string());
    }
    ++count;
  }
  EXPECT_GT(count, 500u);
}

TEST(JinjaLanguage, ErrorsNameOriginAndLine) {
  EXPECT_EQ(error_of("a\n{{ raise_exception('no ' ~ 'way') }}"), "test: line 2: no way");
  EXPECT_EQ(error_of("a\n\n{% if %}"), "test: line 3: expected an expression, found '%}'");
  EXPECT_EQ(error_of("{{ a.b }}"), "test: line 1: 'a' is undefined");
  EXPECT_EQ(error_of("{{ m.x.y }}", Json::parse(R"({"m": {}})", "")),
            "test: line 1: 'dict object' has no attribute 'x'");
  EXPECT_EQ(error_of("\n{{ m.append(1) }}", Json::parse(R"({"m": []})", "")),
            "test: line 2: access to attribute 'append' of 'list' object is unsafe");
}

// Where Inkstone differs from the reference, and means to.
TEST(JinjaLanguage, DeviatesOnPurpose) {
  EXPECT_EQ(error_of("{{ 10**20 }}"), "test: line 1: integer overflow: integers have 64 bits here");
  EXPECT_EQ(error_of("{{ 9223372036854775807 + 1 }}"), "test: line 1: integer overflow: integers have 64 bits here");
  EXPECT_EQ(error_of("{{ -9223372036854775807 - 2 }}"), "test: line 1: integer overflow: integers have 64 bits here");
  EXPECT_EQ(error_of("{{ 99999999999999999999 }}"), "test: line 1: the integer 99999999999999999999 is too large");
  EXPECT_EQ(render("{{ ['a']|map('upper')|tojson }}"), "[\"A\"]");      // the reference: TypeError
  EXPECT_EQ(render("{{ 5|indent }}"), "5");                             // the reference: TypeError
  EXPECT_EQ(render("{{ \"\xEF\xAC\x81\".upper() }}"), "\xEF\xAC\x81");  // the reference: FI
}

TEST(JinjaLanguage, RefusesOtherTemplates) {
  for (const char* tag : {"{% include 'a' %}", "{% import 'a' as b %}", "{% from 'a' import b %}", "{% extends 'a' %}",
                          "{% block a %}{% endblock %}", "{% do 1 %}"})
    EXPECT_THROW(ChatTemplate::parse(tag, Json(), "test"), Error) << tag;
}

TEST(JinjaLanguage, PrintsTheLocalTime) {
  const std::string now = ChatTemplate::parse("{{ strftime_now('%Y') }}", Json(), "test").render({}, {}, {}).text;
  EXPECT_EQ(now.size(), 4u);
  EXPECT_EQ(now.substr(0, 2), "20");
}

}  // namespace
}  // namespace inkstone
