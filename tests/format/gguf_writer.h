// Writes GGUF files for tests, from the published layout and not from our reader: a header of any content, tensors of
// any bytes, a tiny Qwen3 with random weights in every type, and an MLX folder's model as GGUF.
#pragma once

#include <cmath>
#include <cstring>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/float16.h"

namespace inkstone::gguf_files {

// ggml's numbers, by name.
struct GgufType {
  const char* name;
  uint32_t id;
  int block, bytes;
  std::vector<int> halves{};  // where a block has its float16 scales
};
inline const std::vector<GgufType>& gguf_types() {
  static const std::vector<GgufType> types = {
      {"F32", 0, 1, 4},
      {"F16", 1, 1, 2},
      {"BF16", 30, 1, 2},
      {"Q4_0", 2, 32, 18, {0}},
      {"Q4_1", 3, 32, 20, {0, 2}},
      {"Q5_0", 6, 32, 22, {0}},
      {"Q5_1", 7, 32, 24, {0, 2}},
      {"Q8_0", 8, 32, 34, {0}},
      {"Q2_K", 10, 256, 84, {80, 82}},
      {"Q3_K", 11, 256, 110, {108}},
      {"Q4_K", 12, 256, 144, {0, 2}},
      {"Q5_K", 13, 256, 176, {0, 2}},
      {"Q6_K", 14, 256, 210, {208}},
  };
  return types;
}
inline const GgufType& gguf_type(std::string_view name) {
  for (const GgufType& type : gguf_types())
    if (type.name == name) return type;
  throw std::invalid_argument(std::string(name));
}

class GgufWriter {
 public:
  void u32(std::string_view key, uint32_t value) { member(key, 4, raw(value)); }
  void f32(std::string_view key, float value) { member(key, 6, raw(value)); }
  void boolean(std::string_view key, bool value) { member(key, 7, std::string(1, value ? '\1' : '\0')); }
  void text(std::string_view key, std::string_view value) { member(key, 8, string(value)); }
  void texts(std::string_view key, const std::vector<std::string>& values) {
    std::string body = raw<uint32_t>(8) + raw<uint64_t>(values.size());
    for (const std::string& value : values) body += string(value);
    member(key, 9, body);
  }
  void integers(std::string_view key, const std::vector<int32_t>& values) {
    std::string body = raw<uint32_t>(5) + raw<uint64_t>(values.size());
    for (const int32_t value : values) body += raw(value);
    member(key, 9, body);
  }
  void member(std::string_view key, uint32_t type, const std::string& body) {
    members_ += string(key) + raw(type) + body;
    ++member_count_;
  }

  // dims: outermost first, as everywhere but in the file.
  void tensor(std::string_view name, uint32_t type, std::vector<int64_t> dims, std::string_view bytes) {
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    tensors_ += string(name) + raw(static_cast<uint32_t>(dims.size()));
    for (size_t i = dims.size(); i-- > 0;) tensors_ += raw<uint64_t>(static_cast<uint64_t>(dims[i]));
    tensors_ += raw(type) + raw<uint64_t>(data_.size());
    data_ += bytes;
    ++tensor_count_;
  }

  std::string bytes() const {
    std::string file = "GGUF" + raw(version) + raw<uint64_t>(tensor_count_) + raw<uint64_t>(member_count_);
    file += members_ + tensors_;
    file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + data_;
  }
  void write(const std::string& path) const { std::ofstream(path, std::ios::binary) << bytes(); }

  template <class T>
  static std::string raw(T value) {
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
  }
  static std::string string(std::string_view text) { return raw<uint64_t>(text.size()).append(text); }

  uint32_t version = 3;
  size_t alignment = 32;

 private:
  std::string members_, tensors_, data_;
  uint64_t member_count_ = 0, tensor_count_ = 0;
};

// A GPT-2 spelling of each byte, a few merges, and Qwen's special tokens: what the model below speaks.
inline void add_tokenizer(GgufWriter& writer, int rows) {
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
  int beyond = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool visible = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
    const int c = visible ? byte : beyond++;
    tokens.push_back(c < 128 ? std::string(1, static_cast<char>(c))
                             : std::string{static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 63))});
  }
  for (const auto& [left, right] : {std::pair("h", "e"), {"l", "l"}, {"he", "ll"}, {"\xc4\xa0", "w"}}) {
    merges.push_back(std::string(left) + " " + right);
    tokens.push_back(std::string(left) + right);
  }
  types.assign(tokens.size(), 1);
  const int first_added = static_cast<int>(tokens.size());
  for (const char* control : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"})
    tokens.push_back(control), types.push_back(3);
  for (const char* defined : {"<think>", "</think>"}) tokens.push_back(defined), types.push_back(4);
  while (static_cast<int>(tokens.size()) < rows)
    tokens.push_back("[PAD" + std::to_string(tokens.size()) + "]"), types.push_back(5);
  writer.text("tokenizer.ggml.model", "gpt2");
  writer.text("tokenizer.ggml.pre", "qwen2");
  writer.texts("tokenizer.ggml.tokens", tokens);
  writer.integers("tokenizer.ggml.token_type", types);
  writer.texts("tokenizer.ggml.merges", merges);
  writer.u32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(first_added + 2));
  writer.u32("tokenizer.ggml.padding_token_id", static_cast<uint32_t>(first_added));
  writer.boolean("tokenizer.ggml.add_bos_token", false);
  writer.text("tokenizer.chat_template",
              "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}");
}

// Blocks of random codes whose values are about 1 / sqrt(columns).
inline std::string random_blocks(std::mt19937& rng, const GgufType& type, int64_t elements, int64_t columns) {
  const float unit = 1 / std::sqrt(static_cast<float>(columns));
  std::string bytes(static_cast<size_t>(elements / type.block * type.bytes), '\0');
  for (char& c : bytes) c = static_cast<char>(rng() & 255);
  const auto put = [](char* at, uint16_t half) { std::memcpy(at, &half, 2); };
  for (int64_t i = 0; i < elements / type.block; ++i) {
    char* block = bytes.data() + i * type.bytes;
    const float noise = static_cast<float>(static_cast<int>(rng() & 1023) - 512) / 512 * unit;
    if (type.id == 0) std::memcpy(block, &noise, 4);
    if (type.id == 1) put(block, f32_to_f16(noise));
    if (type.id == 30) put(block, f32_to_bf16(noise));
    if (type.halves.empty()) continue;
    // Steps so that codes, and where there are sub-scales their product, spread over about one unit.
    const float steps = type.block == 32 ? (type.id == 8   ? 64.0f
                                            : type.id >= 6 ? 10.0f
                                                           : 5.0f)
                        : type.id == 14  ? 1000.0f
                        : type.id == 13  ? 300.0f
                                         : 100.0f;
    const float step = unit / steps * (1 + static_cast<float>(rng() & 255) / 256);
    put(block + type.halves[0], f32_to_f16(rng() % 4 == 0 ? -step : step));
    if (type.halves.size() > 1) put(block + type.halves[1], f32_to_f16(type.block == 32 ? -unit : step * 4));
  }
  return bytes;
}

struct TinyGguf {
  std::string type = "Q4_0";  // of all matrices
  bool experts = false;
  bool tied = true;
  int layers = 2;
  int rows = 288;  // of the vocabulary
};

// A Qwen3 of random weights. K-quants need rows of 256, the others get 64.
inline GgufWriter tiny_gguf(const TinyGguf& tiny) {
  GgufWriter writer;
  std::mt19937 rng(7);
  const GgufType& type = gguf_type(tiny.type);
  const int64_t d = type.block == 256 ? 256 : 64, head_dim = d / 2, width = 2 * d;
  const std::string arch = tiny.experts ? "qwen3moe" : "qwen3";
  writer.text("general.architecture", arch);
  writer.text("general.name", "tiny");
  writer.u32(arch + ".block_count", static_cast<uint32_t>(tiny.layers));
  writer.u32(arch + ".context_length", 4096);
  writer.u32(arch + ".embedding_length", static_cast<uint32_t>(d));
  writer.u32(arch + ".feed_forward_length", static_cast<uint32_t>(width));
  writer.u32(arch + ".attention.head_count", 2);
  writer.u32(arch + ".attention.head_count_kv", 1);
  writer.u32(arch + ".attention.key_length", static_cast<uint32_t>(head_dim));
  writer.u32(arch + ".attention.value_length", static_cast<uint32_t>(head_dim));
  writer.f32(arch + ".attention.layer_norm_rms_epsilon", 1e-6f);
  writer.f32(arch + ".rope.freq_base", 1000000.0f);
  if (tiny.experts) {
    writer.u32(arch + ".expert_count", 4);
    writer.u32(arch + ".expert_used_count", 2);
    writer.u32(arch + ".expert_feed_forward_length", static_cast<uint32_t>(d));
  }
  add_tokenizer(writer, tiny.rows);
  const auto matrix = [&](const std::string& name, std::vector<int64_t> dims) {
    int64_t elements = 1;
    for (const int64_t dim : dims) elements *= dim;
    writer.tensor(name + ".weight", type.id, dims, random_blocks(rng, type, elements, dims.back()));
  };
  const auto floats = [&](const std::string& name, std::vector<int64_t> dims, float base) {
    std::string bytes;
    int64_t elements = 1;
    for (const int64_t dim : dims) elements *= dim;
    for (int64_t i = 0; i < elements; ++i) bytes += GgufWriter::raw(base + static_cast<float>(rng() & 255) / 1024);
    writer.tensor(name + ".weight", 0, dims, bytes);
  };
  matrix("token_embd", {tiny.rows, d});
  for (int i = 0; i < tiny.layers; ++i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    floats(blk + "attn_norm", {d}, 1);
    matrix(blk + "attn_q", {2 * head_dim, d});
    matrix(blk + "attn_k", {head_dim, d});
    matrix(blk + "attn_v", {head_dim, d});
    floats(blk + "attn_q_norm", {head_dim}, 1);
    floats(blk + "attn_k_norm", {head_dim}, 1);
    matrix(blk + "attn_output", {d, 2 * head_dim});
    floats(blk + "ffn_norm", {d}, 1);
    if (tiny.experts) {
      floats(blk + "ffn_gate_inp", {4, d}, -0.1f);
      matrix(blk + "ffn_gate_exps", {4, d, d});
      matrix(blk + "ffn_up_exps", {4, d, d});
      matrix(blk + "ffn_down_exps", {4, d, d});
    } else {
      matrix(blk + "ffn_gate", {width, d});
      matrix(blk + "ffn_up", {width, d});
      matrix(blk + "ffn_down", {d, width});
    }
  }
  floats("output_norm", {d}, 1);
  if (!tiny.tied) matrix("output", {tiny.rows, d});
  return writer;
}

}  // namespace inkstone::gguf_files
