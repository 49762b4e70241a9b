// A template that loops for ever, explodes or nests without end stops with an error, soon.
#include <gtest/gtest.h>

#include <ctime>

#include "base/error.h"
#include "text/chat_template.h"

namespace inkstone {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

void expect_stops(const std::string& source) {
  SCOPED_TRACE(source.substr(0, 200));
  const std::clock_t begin = std::clock();
  try {
    RenderOptions options;
    if (kSanitized) options.max_steps = 2'000'000;  // a fifteenth: sanitizers are as much slower
    ChatTemplate::parse(source, Json(), "test").render({}, {}, {}, options);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::template_error);
  }
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  EXPECT_LT(seconds, 10.0);  // of the processor; about 1
}

std::string repeated(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

TEST(JinjaBounds, Loops) {
  const std::string loop = "{% for a in range(99999) %}";
  const std::string end = "{% endfor %}";
  expect_stops(repeated(loop, 4) + "x" + repeated(end, 4));
  expect_stops(repeated(loop, 4) + "{% set b = a %}" + repeated(end, 4));
  expect_stops("{% for a in range(100001) %}{% endfor %}");
  expect_stops(loop + "{% for b in range(99999)|list %}{% break %}{% endfor %}" + end + end);
}

TEST(JinjaBounds, Strings) {
  expect_stops("{{ 'a' * 10**9 }}");
  expect_stops("{{ 'abc' * 9223372036854775807 }}");
  expect_stops("{{ 'a'.center(10**15) }}");
  expect_stops("{{ '%999999999d' % 1 }}");
  expect_stops("{{ '{:999999999}'.format(1) }}");
  expect_stops("{% set n = namespace(s='abcdefgh') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}");
  expect_stops("{% set s = 'a' * 10**6 %}{% for i in range(99999) %}{{ s.replace('a', 'bb') }}{% endfor %}");
  expect_stops("{% set s = 'a' * 10**6 %}{% for i in range(99999) %}{% set t = s.count('ab') %}{% endfor %}");
  expect_stops("{% set s = 'a' * 10**6 %}{{ s.replace('', s) }}");
  expect_stops("{% set s = ('a' * 10**5).split('') %}");
  expect_stops("{% set s = 'a' * 10**5 %}{{ (',' * 10**5).split(',') | join(s) }}");
}

TEST(JinjaBounds, Lists) {
  expect_stops("{{ [1] * 10**12 }}");
  expect_stops("{{ ([1] * 10**6) * 9223372036854775807 }}");
  expect_stops("{% set n = namespace(l=[1]) %}{% for i in range(99) %}{% set n.l = n.l + n.l %}{% endfor %}");
  expect_stops("{% set n = namespace(l=[]) %}{% for i in range(9999) %}{% set n.l = [n.l] %}{% endfor %}");
  expect_stops("{% set n = namespace(l=[]) %}{% for i in range(99) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}");
  expect_stops(
      "{% set n = namespace(l=[]) %}{% for i in range(99) %}{% set n.l = [n.l, n.l] %}{% endfor %}"
      "{{ n.l|tojson }}");
  expect_stops(
      "{% set n = namespace(l=[], m=[]) %}{% for i in range(99) %}{% set n.l = [n.l, n.l] %}"
      "{% set n.m = [n.m, n.m] %}{% endfor %}{{ n.l == n.m }}");
  expect_stops("{{ range(99999)|unique|list }}");
}

TEST(JinjaBounds, Recursion) {
  expect_stops("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
  expect_stops("{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}");
  expect_stops("{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(90) }}");
  expect_stops("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}");
  expect_stops("{% macro m() %}{{ caller() }}{{ m() }}{% endmacro %}{% call m() %}{% endcall %}");
  expect_stops("{{ " + repeated("(", 10000) + "1" + repeated(")", 10000) + " }}");
  expect_stops("{{ " + repeated("[", 10000) + " }}");
  expect_stops("{{ 1" + repeated(" + 1", 10000) + " }}");
  expect_stops("{{ a" + repeated("|e", 10000) + " }}");
  expect_stops("{{ a" + repeated(".b", 10000) + " }}");
  expect_stops("{{ " + repeated("not ", 10000) + "1 }}");
  expect_stops("{{ " + repeated("-", 10000) + "1 }}");
  expect_stops("{{ " + repeated("1 if 1 else ", 10000) + "1 }}");
  expect_stops(repeated("{% if 1 %}", 10000));
  expect_stops("{% set " + repeated("(", 10000) + "a");
  expect_stops(repeated("{% for x in [1] %}", 10000));
}

// Cycles end with the rendering: the leak checker of the sanitized build sees to that.
TEST(JinjaBounds, Cycles) {
  const auto text = [](const char* source) { return ChatTemplate::parse(source, Json(), "t").render({}, {}, {}).text; };
  EXPECT_EQ(text("{% set n = namespace() %}{% set n.n = n %}{{ n.n.n is defined }}"), "True");
  EXPECT_EQ(text("{% set n = namespace() %}{% macro m() %}{% endmacro %}{% set n.m = m %}{% set n.l = [n] %}x"), "x");
  EXPECT_EQ(text("{% set n = namespace() %}{% for i in [1] %}{% set n.l = loop %}{% set k = loop.changed(loop, n) %}"
                 "{% endfor %}x"),
            "x");
  EXPECT_THROW(text("{% set n = namespace() %}{% set n.n = n %}{{ n }}"), Error);
}

TEST(JinjaBounds, OptionsTighten) {
  RenderOptions options;
  options.max_steps = 1000;
  const auto parsed = ChatTemplate::parse("{% for i in range(2000) %}x{% endfor %}", Json(), "t");
  EXPECT_EQ(parsed.render({}, {}, {}).text.size(), 2000u);
  EXPECT_THROW(parsed.render({}, {}, {}, options), Error);
}

// A long conversation costs milliseconds.
TEST(JinjaBounds, LongConversations) {
  Json messages = Json::Array();
  const std::string content = repeated("Some words of a message. ", 40);
  for (int i = 0; i < 200; ++i) {
    Json message;
    message["role"] = Json(i % 2 ? "assistant" : "user");
    message["content"] = Json(content);
    messages.push_back(message);
  }
  const auto parsed = ChatTemplate::parse(
      "{% set ns = namespace(out='') %}{% for m in messages[::-1] %}{% set c = m.content.split('</think>')[-1].strip() "
      "%}"
      "{% set ns.out = ns.out ~ m.role ~ ': ' ~ c ~ '\\n' %}{{ c }}{% endfor %}{{ ns.out }}",
      Json(), "t");
  const std::clock_t begin = std::clock();
  const size_t size = parsed.render(messages, {}, {}).text.size();
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  EXPECT_GT(size, 400000u);
  EXPECT_LT(seconds, 1.0);
  RecordProperty("milliseconds", static_cast<int>(seconds * 1000));
}

}  // namespace
}  // namespace inkstone
