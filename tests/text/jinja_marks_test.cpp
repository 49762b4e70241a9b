// Provenance: what a message brings never counts as the template's, whatever the template does to it.
#include <gtest/gtest.h>

#include "base/error.h"
#include "text/chat_template.h"

namespace inkstone {
namespace {

// The output with what came from messages in [[...]].
std::string marked(const MarkedText& text) {
  std::string out;
  size_t begin = 0;
  for (const auto& run : text.runs) {
    const std::string piece = text.text.substr(begin, run.end - begin);
    out += run.from_template ? piece : "[[" + piece + "]]";
    begin = run.end;
  }
  EXPECT_EQ(begin, text.text.size());
  return out;
}

std::string render(const std::string& expression, const char* context = R"({"c": "a<X>b", "l": ["p", "q"]})") {
  const auto parsed = ChatTemplate::parse("{{ " + expression + " }}", Json::parse(R"({"bos": "<s>"})", ""), "t");
  return marked(parsed.render({}, {}, Json::parse(context, "")));
}

TEST(JinjaMarks, Strings) {
  EXPECT_EQ(render("'T' + c + 'T'"), "T[[a<X>b]]T");
  EXPECT_EQ(render("'T' ~ c ~ 1 ~ bos"), "T[[a<X>b]]1<s>");
  EXPECT_EQ(render("('T' ~ c)[0:3]"), "T[[a<]]");
  EXPECT_EQ(render("('T' ~ c)[::-1]"), "[[b>X<a]]T");
  EXPECT_EQ(render("('T' ~ c)[1]"), "[[a]]");
  EXPECT_EQ(render("c.split('<X>') | join('|')"), "[[a]]|[[b]]");
  EXPECT_EQ(render("c.replace('<X>', '<Y>')"), "[[a]]<Y>[[b]]");
  EXPECT_EQ(render("'a.b'.replace('.', c)"), "a[[a<X>b]]b");
  EXPECT_EQ(render("('<' ~ c ~ '>').upper()"), "<[[A<X>B]]>");
  EXPECT_EQ(render("('  ' ~ c ~ '  ').strip()"), "[[a<X>b]]");
  EXPECT_EQ(render("('x' ~ c).lstrip('xa')"), "[[<X>b]]");
  EXPECT_EQ(render("(c ~ '\\n' ~ 'z').splitlines() | join('|')"), "[[a<X>b]]|z");
  EXPECT_EQ(render("c.partition('<X>')[1]"), "[[<X>]]");
  EXPECT_EQ(render("c.title() ~ c.capitalize()"), "[[A<X>BA<x>b]]");
  EXPECT_EQ(render("c * 2 ~ 'T' * 2"), "[[a<X>ba<X>b]]TT");
  EXPECT_EQ(render("'%s:%5s' % (c, 'T')"), "[[a<X>b]]:    T");
  EXPECT_EQ(render("c % ()"), "[[a<X>b]]");
  EXPECT_EQ(render("'{}-{}'.format(c, 1)"), "[[a<X>b]]-1");
  EXPECT_EQ(render("c.format()"), "[[a<X>b]]");
  EXPECT_EQ(render("c | e"), "[[a&lt;X&gt;b]]");
  EXPECT_EQ(render("(c ~ '\\nT') | indent(2)"), "[[a<X>b]]\n  T");
  EXPECT_EQ(render("c | truncate(4, true, '~', 0)"), "[[a<X]]~");
  EXPECT_EQ(render("c.center(7)"), " [[a<X>b]] ");
  EXPECT_EQ(render("c | trim | string | safe"), "[[a<X>b]]");
  EXPECT_EQ(render("c.removeprefix('a').removesuffix('b')"), "[[<X>]]");
  EXPECT_EQ(render("c | urlencode"), "[[a%3CX%3Eb]]");
  EXPECT_EQ(render("c | list | join"), "[[a<X>b]]");
  EXPECT_EQ(render("c | reverse"), "[[b>X<a]]");
  EXPECT_EQ(render("c | first ~ c | last"), "[[ab]]");
  EXPECT_EQ(render("nope | default(c)"), "[[a<X>b]]");
}

TEST(JinjaMarks, Containers) {
  EXPECT_EQ(render("l | join(',')"), "[[p]],[[q]]");
  EXPECT_EQ(render("l"), "[[['p', 'q']]]");
  EXPECT_EQ(render("['T', c] | tojson"), "[[[\"]]T[[\", \"a<X>b\"]]]");
  EXPECT_EQ(render("{'k': c} | tojson(indent=1)"), "[[{\n \"]]k[[\": \"a<X>b\"\n}]]");
  EXPECT_EQ(render("{c: 1}.keys() | first"), "[[a<X>b]]");
  EXPECT_EQ(render("[c, 'T'] | map('lower') | join"), "[[a<x>b]]t");
  EXPECT_EQ(render("d | items | first | join('=')", R"({"d": {"k<1>": "v<2>"}})"), "[[k<1>]]=[[v<2>]]");
  EXPECT_EQ(render("d.x ~ d['y'].z", R"({"d": {"x": 1, "y": {"z": "<Z>"}}})"), "1[[<Z>]]");
  EXPECT_EQ(render("[c] | sort | first"), "[[a<X>b]]");
}

TEST(JinjaMarks, Statements) {
  const Json context = Json::parse(R"({"c": "<X>"})", "");
  const auto text = [&](const char* source) {
    return marked(ChatTemplate::parse(source, Json(), "t").render({}, {}, context));
  };
  EXPECT_EQ(text("a{% set x %}b{{ c }}d{% endset %}{{ x }}"), "ab[[<X>]]d");
  EXPECT_EQ(text("{% macro m(v) %}<{{ v }}>{% endmacro %}{{ m(c) | upper }}"), "<[[<X>]]>");
  EXPECT_EQ(text("{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}k{{ c }}{% endcall %}"), "k[[<X>]]");
  EXPECT_EQ(text("{% filter replace('X', 'Y') %}X{{ c }}{% endfilter %}"), "Y[[<]]Y[[>]]");
  EXPECT_EQ(text("{% for x in c %}{{ x }}.{% endfor %}"), "[[<]].[[X]].[[>]].");
  EXPECT_EQ(text("{% set n = namespace(v=c) %}{{ n.v }}"), "[[<X>]]");
  EXPECT_EQ(text("{% generation %}{{ c }}T{% endgeneration %}"), "[[<X>]]T");
}

}  // namespace
}  // namespace inkstone
