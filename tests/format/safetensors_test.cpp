#include "format/safetensors.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "format/safetensors_writer.h"
#include "tests/format/temporary_folder.h"

namespace inkstone {
namespace {

std::string file_of(std::string_view header, size_t data_bytes) {
  std::string text;
  for (int i = 0; i < 8; ++i) text += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return text + std::string(header) + std::string(data_bytes, '\1');
}

SafetensorsHeader parse(std::string_view file) { return parse_safetensors(std::as_bytes(std::span(file)), "t"); }

std::pair<Errc, std::string> refusal(std::string_view header, size_t data_bytes) {
  return error_of([&] { parse(file_of(header, data_bytes)); });
}

TEST(Safetensors, ReadsTensorsAndMetadata) {
  const std::string file =
      file_of(R"({"__metadata__": {"format": "mlx"}, "b": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [4, 16]},)"
              R"( "a": {"dtype": "U32", "shape": [], "data_offsets": [0, 4]},)"
              R"( "none": {"dtype": "F32", "shape": [0, 7], "data_offsets": [16, 16]}}  )",
              16);
  const SafetensorsHeader header = parse(file);
  EXPECT_EQ(header.metadata.at("format"), "mlx");
  ASSERT_EQ(header.tensors.size(), 3u);
  const ConstTensor& b = header.tensors.at("b");
  EXPECT_EQ(b.dtype, DType::bf16);
  EXPECT_EQ(b.shape, (Shape{2, 3}));
  EXPECT_EQ(reinterpret_cast<const char*>(b.data), file.data() + file.size() - 12);
  EXPECT_EQ(header.tensors.at("a").shape.rank(), 0);
  EXPECT_EQ(header.tensors.at("none").bytes(), 0u);
  EXPECT_TRUE(parse(file_of("{\"__metadata__\": null}", 0)).metadata.empty());
}

struct Refused {
  const char* header;
  size_t data_bytes;
  const char* says;
};

TEST(Safetensors, RefusesLies) {
  const Refused cases[] = {
      {R"([])", 0, "'{'"},
      {R"({"a": 1})", 0, "expected an object"},
      {R"({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]})", 1, "JSON"},
      {R"({"a": {"shape": [1], "data_offsets": [0, 1]}})", 1, "dtype"},
      {R"({"a": {"dtype": 3, "shape": [1], "data_offsets": [0, 1]}})", 1, "dtype"},
      {R"({"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}})", 1, "F8_E4M3"},
      {R"({"a": {"dtype": "Q4", "shape": [1], "data_offsets": [0, 1]}})", 1, "Q4"},
      {R"({"a": {"dtype": "U8", "data_offsets": [0, 1]}})", 1, "shape"},
      {R"({"a": {"dtype": "U8", "shape": [-1], "data_offsets": [0, 1]}})", 1, "-1"},
      {R"({"a": {"dtype": "U8", "shape": [1.0], "data_offsets": [0, 1]}})", 1, "1.0"},
      {R"({"a": {"dtype": "U8", "shape": [18446744073709551615], "data_offsets": [0, 1]}})", 1, "shape"},
      {R"({"a": {"dtype": "U8", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}})", 0, "overflows"},
      {R"({"a": {"dtype": "U8", "shape": [4294967296, 4294967296, 0], "data_offsets": [0, 0]}})", 0, "overflows"},
      {R"({"a": {"dtype": "F64", "shape": [2305843009213693952], "data_offsets": [0, 0]}})", 0, "overflows"},
      {R"({"a": {"dtype": "U8", "shape": [1,1,1,1,1,1,1,1,1], "data_offsets": [0, 1]}})", 1, "more than 8"},
      {R"({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0]}})", 1, "2"},
      {R"({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 0]}})", 1, "data_offsets"},
      {R"({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}})", 1, "data_offsets"},
      {R"({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 1]}})", 1, "expected 2"},
      {R"({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}})",
       1, "twice"},
      {R"({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}, "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}})",
       3, "overlaps"},
      {R"({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}})", 2, "no tensor"},
      {R"({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}})", 2, "after the last"},
      {R"({"__metadata__": {"a": 1}})", 0, "expected a string"},
      {R"({"__metadata__": []})", 0, "__metadata__"},
  };
  for (const Refused& refused : cases) {
    const auto [code, message] = refusal(refused.header, refused.data_bytes);
    EXPECT_TRUE(is_refusal(code)) << refused.header << ": " << message;
    EXPECT_NE(message.find(refused.says), std::string::npos) << refused.header << ": " << message;
  }
  std::string huge(8, '\xff');
  EXPECT_EQ(error_of([&] { parse(huge + "{}"); }).first, Errc::bad_file);
}

std::string small_file() {
  return file_of(R"({"x": {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]},)"
                 R"("y": {"dtype": "U8", "shape": [3], "data_offsets": [8, 11]}})",
                 11);
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string file = small_file();
  parse(file);
  for (size_t length = 0; length < file.size(); ++length) {
    const std::string part = file.substr(0, length);
    EXPECT_TRUE(is_refusal(error_of([&] { parse(part); }).first)) << length;
  }
}

TEST(Safetensors, FlippedBitsOpenOrAreRefused) {
  const std::string file = small_file();
  std::mt19937 random(1);
  int opened = 0, refused = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string damaged = file;
    for (int flip = 0; flip <= round % 3; ++flip)
      damaged[random() % (file.size() - 11)] ^= static_cast<char>(1 << random() % 8);
    try {
      for (const auto& [name, tensor] : parse(damaged).tensors) {
        EXPECT_GE(reinterpret_cast<const char*>(tensor.data), damaged.data());
        EXPECT_LE(reinterpret_cast<const char*>(tensor.data) + tensor.bytes(), damaged.data() + damaged.size());
      }
      ++opened;
    } catch (const Error& error) {
      EXPECT_TRUE(is_refusal(error.code())) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(opened, 0);
  EXPECT_GT(refused, opened);
}

TEST(Safetensors, OpensAHundredThousandTensorsQuickly) {
  std::vector<TensorSpec> specs;
  for (int i = 0; i < 100000; ++i)
    specs.push_back({"model.layers." + std::to_string(i) + ".self_attn.q_proj.weight", DType::u8, Shape{1, 1}});
  const TemporaryFolder folder;
  SafetensorsWriter writer(folder / "many.safetensors", specs);
  writer.write(std::vector<std::byte>(100000));
  writer.finish();
  const auto start = std::chrono::steady_clock::now();
  const Safetensors file(folder / "many.safetensors");
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(file.tensors().size(), 100000u);
  RecordProperty("milliseconds", static_cast<int>(seconds * 1000));
  EXPECT_LT(seconds, 5.0);  // about 0.2 s on an idle machine; sanitizers and busy builders are slower
}

TEST(SafetensorsWriter, WritesInPiecesWhatTheReaderReads) {
  const TemporaryFolder folder;
  std::string data;
  for (int i = 0; i < 22; ++i) data += static_cast<char>(i);
  {
    SafetensorsWriter writer(folder / "a.safetensors",
                             {{"x", DType::f32, {2, 2}}, {"e", DType::u8, {0}}, {"y", DType::bf16, {3}}},
                             {{"note", "a \"quoted\" line\n"}});
    for (size_t at = 0; at < data.size(); at += 5)
      writer.write(std::as_bytes(std::span(data)).subspan(at, std::min<size_t>(5, data.size() - at)));
    EXPECT_EQ(writer.next(), nullptr);
    EXPECT_FALSE(std::filesystem::exists(folder / "a.safetensors")) << "visible before finish()";
    writer.finish();
    EXPECT_EQ(std::filesystem::file_size(folder / "a.safetensors"), writer.bytes());
  }
  const Safetensors file(folder / "a.safetensors");
  EXPECT_EQ(file.metadata().at("note"), "a \"quoted\" line\n");
  EXPECT_EQ(file.find("y")->shape, Shape{3});
  EXPECT_EQ(std::memcmp(file.find("x")->data, data.data(), 16), 0);
  EXPECT_EQ(std::memcmp(file.find("y")->data, data.data() + 16, 6), 0);
}

TEST(SafetensorsWriter, LeavesNothingBehindWhenAbandoned) {
  const TemporaryFolder folder;
  folder.write("a.safetensors", "old");
  { SafetensorsWriter writer(folder / "a.safetensors", {{"x", DType::f32, {2}}}); }
  EXPECT_EQ(folder.read("a.safetensors"), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(SafetensorsWriter, RefusesWhatTheDiskCannotHold) {
  const TemporaryFolder folder;
  const auto [code, message] = error_of([&] {
    SafetensorsWriter writer(folder / "a.safetensors", {{"x", DType::f32, {int64_t{1} << 58}}});
  });
  EXPECT_EQ(code, Errc::io);
  EXPECT_NE(message.find("disk full"), std::string::npos) << message;
  EXPECT_EQ(error_of([&] { write_file_atomically(folder / "no/such/folder", "x"); }).first, Errc::io);
}

}  // namespace
}  // namespace inkstone
