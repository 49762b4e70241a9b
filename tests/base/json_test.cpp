#include "base/json.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace inkstone {
namespace {

TEST(Json, KeepsOrderAndNumberKinds) {
  const Json value = Json::parse(R"({"b": 1, "a": 1.0, "c": [true, null, -3, 1e-07, "x\n\u00e9"]})", "t");
  EXPECT_EQ(value.dump(), "{\"b\": 1, \"a\": 1.0, \"c\": [true, null, -3, 1e-07, \"x\\n\u00e9\"]}");
}

TEST(Json, RefusesWhatIsNotOneDocument) {
  for (const char* text : {"", "{", "[1,]", "{} {}", "{\"a\": 1, \"a\": 2}", "\"\xff\"", "nul"})
    EXPECT_THROW(Json::parse(text, "t"), Error) << text;
  EXPECT_THROW(Json::parse(std::string(100000, '['), "t"), Error);
}

TEST(Json, PythonRepr) {
  EXPECT_EQ(python_repr(1), "1.0");
  EXPECT_EQ(python_repr(0.1), "0.1");
  EXPECT_EQ(python_repr(1e16), "1e+16");
  EXPECT_EQ(python_repr(123456789012345.0), "123456789012345.0");
  EXPECT_EQ(python_repr(0.0001), "0.0001");
  EXPECT_EQ(python_repr(0.00001), "1e-05");
  EXPECT_EQ(python_repr(-2.5e-300), "-2.5e-300");
}

TEST(Json, IndentedDump) {
  EXPECT_EQ(Json::parse("{\"a\":[1],\"b\":{}}", "t").dump(2), "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}");
}

}  // namespace
}  // namespace inkstone
