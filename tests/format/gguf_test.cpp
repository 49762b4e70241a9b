// GGUF: blocks decode as the format defines them, metadata becomes a configuration, and what lies is refused.
#include "format/gguf.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "format/checkpoint.h"
#include "format/gguf_config.h"
#include "format/gguf_weights.h"
#include "format/model_files.h"
#include "format/quantization.h"
#include "tests/format/gguf_writer.h"
#include "tests/format/temporary_folder.h"

namespace inkstone {
namespace {

using gguf_files::gguf_type;
using gguf_files::gguf_types;
using gguf_files::GgufType;
using gguf_files::GgufWriter;
using gguf_files::tiny_gguf;
using gguf_files::TinyGguf;

// Element e of a block, from the format's definition, one element at a time.
float element(const GgufType& type, const uint8_t* b, int e) {
  const auto half = [&](int at) { return f16_to_f32(static_cast<uint16_t>(b[at] + 256 * b[at + 1])); };
  const auto nibble = [&](int at, int i, int half_count) {
    return i < half_count ? b[at + i] % 16 : b[at + i - half_count] / 16;
  };
  const auto bit = [&](int at, int i) { return b[at + i / 8] >> (i % 8) & 1; };
  const std::string name = type.name;
  if (name == "Q4_0") return half(0) * static_cast<float>(nibble(2, e, 16) - 8);
  if (name == "Q4_1") return half(0) * static_cast<float>(nibble(4, e, 16)) + half(2);
  if (name == "Q5_0") return half(0) * static_cast<float>(nibble(6, e, 16) + 16 * bit(2, e) - 16);
  if (name == "Q5_1") return half(0) * static_cast<float>(nibble(8, e, 16) + 16 * bit(4, e)) + half(2);
  if (name == "Q8_0") return half(0) * static_cast<float>(static_cast<int8_t>(b[2 + e]));

  const int chunk = e / 128, within = e % 128, quarter = within / 32, l = e % 32;
  if (name == "Q2_K") {
    const int scale = b[e / 16], q = b[16 + 32 * chunk + l] >> (2 * quarter) & 3;
    return half(80) * static_cast<float>(scale % 16) * static_cast<float>(q) -
           half(82) * static_cast<float>(scale / 16);
  }
  if (name == "Q3_K") {
    const int j = e / 16;
    const int low = j < 8 ? b[96 + j] % 16 : b[96 + j - 8] / 16;
    const int high = b[104 + j % 4] >> (2 * (j / 4)) & 3;
    const int q = (b[32 + 32 * chunk + l] >> (2 * quarter) & 3) - ((b[l] >> (4 * chunk + quarter) & 1) ? 0 : 4);
    return half(108) * static_cast<float>(low + 16 * high - 32) * static_cast<float>(q);
  }
  if (name == "Q4_K" || name == "Q5_K") {
    const int j = e / 32;
    const uint8_t* s = b + 4;
    const int scale = j < 4 ? s[j] % 64 : s[j + 4] % 16 + s[j - 4] / 64 * 16;
    const int least = j < 4 ? s[j + 4] % 64 : s[j + 4] / 16 + s[j] / 64 * 16;
    const int nibbles = name == "Q4_K" ? 16 : 48;
    int q = e % 64 < 32 ? b[nibbles + e / 64 * 32 + l] % 16 : b[nibbles + e / 64 * 32 + l] / 16;
    if (name == "Q5_K") q += 16 * (b[16 + l] >> j & 1);
    return half(0) * static_cast<float>(scale) * static_cast<float>(q) - half(2) * static_cast<float>(least);
  }
  const int low = b[64 * chunk + within % 64];
  const int q = (within < 64 ? low % 16 : low / 16) + 16 * (b[128 + 32 * chunk + l] >> (2 * quarter) & 3) - 32;
  return half(208) * static_cast<float>(static_cast<int8_t>(b[192 + e / 16])) * static_cast<float>(q);
}

// All bits of a block but those of its float16 scales are random; these are anything finite.
TEST(Gguf, EveryBlockDecodesToTheBit) {
  std::mt19937 rng(1);
  const TemporaryFolder folder;
  for (const GgufType& type : gguf_types()) {
    if (type.block == 1) continue;
    SCOPED_TRACE(type.name);
    const int64_t rows = 67, columns = 3 * 256;
    std::string bytes(static_cast<size_t>(rows * columns / type.block * type.bytes), '\0');
    for (char& c : bytes) c = static_cast<char>(rng() & 255);
    for (size_t block = 0; block < bytes.size(); block += static_cast<size_t>(type.bytes))
      for (const int at : type.halves) {
        // Exponents up to 2^8: beyond, a bias of Q8_0 is no float16.
        const uint16_t bits = static_cast<uint16_t>((rng() & 0x83ff) | (rng() % 24) << 10);
        std::memcpy(bytes.data() + block + static_cast<size_t>(at), &bits, 2);
      }
    GgufWriter writer;
    writer.tensor("output.weight", type.id, {rows, columns}, bytes);
    const auto path = folder.path() / (std::string(type.name) + ".gguf");
    writer.write(path.string());
    const std::vector<Gguf> files = open_gguf(path);
    ModelConfig config;
    set_gguf_quantization(files, config);
    Checkpoint checkpoint(path);
    const WeightView weight = checkpoint.take_weight("lm_head", rows, columns, config);
    std::vector<float> row(columns);
    for (int64_t r = 0; r < rows; ++r) {
      dequantize_row(weight, r, row);
      for (int64_t i = 0; i < columns; ++i) {
        const int64_t at = r * columns + i;
        const auto* block = reinterpret_cast<const uint8_t*>(bytes.data()) + at / type.block * type.bytes;
        const float expected = element(type, block, static_cast<int>(at % type.block));
        ASSERT_EQ(row[static_cast<size_t>(i)], expected) << r << " " << i;
      }
    }
  }
}

TEST(Gguf, ScalesThatAreNoNumbersAreRefused) {
  const TemporaryFolder folder;
  for (const GgufType& type : gguf_types())
    for (const int at : type.halves)
      for (const uint16_t bits : {0x7c00, 0x7e00, 0xfc00}) {
        std::string bytes(static_cast<size_t>(3 * 256 / type.block * type.bytes), '\1');
        std::memcpy(bytes.data() + bytes.size() - static_cast<size_t>(type.bytes - at), &bits, 2);
        GgufWriter writer;
        writer.tensor("output.weight", type.id, {3, 256}, bytes);
        const auto path = folder.path() / "bad.gguf";
        writer.write(path.string());
        GgufWeights weights(path);
        try {
          weights.load("lm_head.weight");
          ADD_FAILURE() << type.name << " at " << at;
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), Errc::bad_file);
        }
      }
}

TEST(Gguf, NamesAreThoseOfTheCheckpoint) {
  EXPECT_EQ(gguf_module("blk.12.attn_q.weight"), "model.layers.12.self_attn.q_proj");
  EXPECT_EQ(gguf_module("blk.0.ffn_down_exps.weight"), "model.layers.0.mlp.switch_mlp.down_proj");
  EXPECT_EQ(gguf_module("token_embd.weight"), "model.embed_tokens");
  for (const char* other :
       {"blk.00.attn_q.weight", "blk..attn_q.weight", "blk.1.attn_q.bias", "blk.1", "rope_freqs.weight",
        "blk.1.attn_qkv.weight", "blk.99999.attn_q.weight", ".weight", "weight", ""})
    EXPECT_EQ(gguf_module(other), "") << other;
}

TEST(Gguf, MetadataBecomesAConfiguration) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "model.gguf";
  GgufWriter writer = tiny_gguf({.type = "Q6_K", .experts = true, .tied = false});
  writer.text("qwen3moe.rope.scaling.type", "yarn");
  writer.f32("qwen3moe.rope.scaling.factor", 4);
  writer.u32("qwen3moe.rope.scaling.original_context_length", 1024);
  writer.f32("general.sampling.temp", 0.5f);
  writer.write(path.string());
  const ModelConfig config = load_model_config(path);
  EXPECT_EQ(config.model_type, "qwen3_moe");
  EXPECT_EQ(config.vocab_size, 288);
  EXPECT_EQ(config.hidden_size, 256);
  EXPECT_EQ(config.num_hidden_layers, 2);
  EXPECT_EQ(config.num_attention_heads, 2);
  EXPECT_EQ(config.num_key_value_heads, 1);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.rms_norm_eps, 1e-6f);
  EXPECT_EQ(config.rope_theta, 1e6);
  EXPECT_EQ(config.max_position_embeddings, 4096);
  EXPECT_EQ(config.num_experts, 4);
  EXPECT_EQ(config.num_experts_per_tok, 2);
  EXPECT_EQ(config.moe_intermediate_size, 256);
  EXPECT_TRUE(config.norm_topk_prob);
  EXPECT_FALSE(config.tie_word_embeddings);
  ASSERT_TRUE(config.rope_scaling);
  EXPECT_EQ(config.rope_scaling->factor, 4);
  EXPECT_EQ(config.rope_scaling->original_max_position_embeddings, 1024);
  ASSERT_TRUE(config.quantization);
  EXPECT_EQ(*config.quantization, (Quantization{QuantMode::affine, 6, 16}));
  const auto generation = read_model_file(path, "generation_config.json");
  ASSERT_TRUE(generation);
  EXPECT_NE(generation->find("\"temperature\": 0.5"), std::string::npos);
  EXPECT_FALSE(read_model_file(path, "chat_template.jinja"));
}

void expect_refused(const GgufWriter& writer, Errc code, const std::string& part) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "model.gguf";
  writer.write(path.string());
  try {
    const ModelConfig config = load_model_config(path);
    read_model_file(path, "tokenizer.json");
    ADD_FAILURE() << "opened; expected " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Gguf, WhatIsNotSupportedIsNamed) {
  GgufWriter other;
  other.text("general.architecture", "llama");
  expect_refused(other, Errc::unsupported, "general.architecture: found \"llama\"");
  GgufWriter unknown = tiny_gguf({});
  unknown.f32("qwen3.attention.softcap", 1);
  expect_refused(unknown, Errc::unsupported, "qwen3.attention.softcap");
  GgufWriter linear = tiny_gguf({});
  linear.text("qwen3.rope.scaling.type", "linear");
  expect_refused(linear, Errc::unsupported, "rope.scaling.type: found \"linear\"");
  GgufWriter type = tiny_gguf({});
  type.tensor("extra.weight", 23, {1, 256}, std::string(136, '\0'));
  expect_refused(type, Errc::unsupported, "extra.weight: found IQ4_XS");
  GgufWriter nested = tiny_gguf({});
  nested.member("x", 9, GgufWriter::raw<uint32_t>(9) + GgufWriter::raw<uint64_t>(0));
  expect_refused(nested, Errc::unsupported, "array of arrays");
  GgufWriter old = tiny_gguf({});
  old.version = 1;
  expect_refused(old, Errc::unsupported, "version: found 1");
  GgufWriter big = tiny_gguf({});
  big.version = 0x03000000;
  expect_refused(big, Errc::unsupported, "big-endian");
  GgufWriter twice = tiny_gguf({});
  twice.u32("qwen3.block_count", 2);
  expect_refused(twice, Errc::bad_file, "qwen3.block_count: stands twice");
  GgufWriter tensor = tiny_gguf({});
  tensor.tensor("output_norm.weight", 0, {1}, "abcd");
  expect_refused(tensor, Errc::bad_file, "output_norm.weight: stands twice");
}

// Whatever is cut off or flipped, it opens or is refused; what opens lies in the file.
TEST(Gguf, HostileBytesAreRefused) {
  const std::string good = tiny_gguf({.layers = 1}).bytes();
  const auto parse = [](const std::string& bytes) {
    const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size());
    try {
      for (const auto& [name, tensor] : parse_gguf(file, "x").tensors)
        EXPECT_TRUE(tensor.bytes.data() >= file.data() &&
                    tensor.bytes.data() + tensor.bytes.size() <= file.data() + file.size());
      return true;
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == Errc::bad_file || error.code() == Errc::unsupported) << error.what();
      return false;
    }
  };
  EXPECT_TRUE(parse(good));
  const size_t header = 12000;  // most of it
  for (size_t size = 0; size < good.size(); size += size < 600 ? 1 : 97) EXPECT_FALSE(parse(good.substr(0, size)));
  EXPECT_FALSE(parse(good + std::string(64, '\0')));
  std::mt19937 rng(3);
  for (int i = 0; i < 4000; ++i) {
    std::string bytes = good;
    const size_t at = i < 2000 ? rng() % 400 : rng() % header;
    bytes[at] = static_cast<char>(bytes[at] ^ 1 << rng() % 8);
    parse(bytes);
  }
  // The largest of everything.
  for (size_t at = 8; at < 400; ++at) {
    std::string bytes = good;
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 8, '\xff');
    parse(bytes);
  }
}

// The file that the README opens.
TEST(Gguf, TheSampleIsWhatTheWriterWrites) {
  EXPECT_TRUE(read_file(INKSTONE_SOURCE_DIR "/tests/data/tiny.gguf", 1 << 20) == tiny_gguf({}).bytes());
}

TEST(Gguf, SplitFilesOpenWhole) {
  const TemporaryFolder folder;
  GgufWriter first, second;
  for (const auto& [writer, number] : {std::pair(&first, 0u), {&second, 1u}}) {
    writer->u32("split.no", number);
    writer->u32("split.count", 2);
  }
  const std::string row = std::string(64 * 4, '\0');
  first.tensor("token_embd.weight", 0, {1, 64}, row);
  second.tensor("output.weight", 0, {1, 64}, row);
  const auto path = folder.path() / "m-00001-of-00002.gguf";
  first.write(path.string());
  EXPECT_THROW(GgufWeights{path}, Error);  // the second is not there
  const auto other = folder.path() / "m-00002-of-00002.gguf";
  second.write(other.string());
  EXPECT_EQ(GgufWeights(path).tensors().size(), 2u);
  EXPECT_THROW(GgufWeights{other}, Error);
  first.write(other.string());
  EXPECT_THROW(GgufWeights{path}, Error);  // the first twice
}

}  // namespace
}  // namespace inkstone
