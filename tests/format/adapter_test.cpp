#include "format/adapter.h"

#include <gtest/gtest.h>

#include "format/safetensors_writer.h"
#include "tests/format/temporary_folder.h"

namespace inkstone {
namespace {

using Floats = std::vector<float>;

Json options(const char* type) {
  Json json;
  json["fine_tune_type"] = type;
  json["lora_parameters"]["dropout"] = 0.0;
  json["lora_parameters"]["rank"] = 2;
  json["lora_parameters"]["scale"] = 20.0;
  json["num_layers"] = 4;
  return json;
}

ConstTensor tensor(const Floats& values, const Shape& shape) {
  return {reinterpret_cast<const std::byte*>(values.data()), DType::f32, shape};
}

TEST(Adapter, RowsAreAlongTheInput) {
  const TemporaryFolder home;
  const auto folder = home / "new/adapters";
  const Floats a{1, 2, 3, 4, 5, 6}, b{1, 2, 3, 4, 5, 6, 7, 8}, m{1, 2, 3, 4};
  write_adapter_config(folder, options("dora"));
  write_safetensors(folder / kAdapterFile, {{"model.layers.0.self_attn.q_proj.lora_a", tensor(a, {3, 2})},
                                            {"model.layers.0.self_attn.q_proj.lora_b", tensor(b, {2, 4})},
                                            {"model.layers.0.self_attn.q_proj.m", tensor(m, {4})}});
  const Adapter read(folder);
  EXPECT_EQ(read.config().num_layers, 4);
  EXPECT_EQ(read.config().rank, 2);
  EXPECT_EQ(read.config().scale, 20);
  const AdapterModule& module = read.modules().at("model.layers.0.self_attn.q_proj");
  EXPECT_EQ(module.in(), 3);
  EXPECT_EQ(module.out(), 4);
  const AdapterRows rows = rows_of(module);
  EXPECT_EQ(rows.a, (Floats{1, 3, 5, 2, 4, 6}));
  EXPECT_EQ(rows.b, (Floats{1, 5, 2, 6, 3, 7, 4, 8}));
  EXPECT_EQ(rows.m, m);
}

TEST(Adapter, ThoseOfExpertsAreStoredSo) {
  const TemporaryFolder folder;
  const Floats a{1, 2, 3, 4, 5, 6, 7, 8}, b{8, 7, 6, 5};
  write_adapter_config(folder.path(), options("lora"));
  write_safetensors(folder / kAdapterFile, {{"x.switch_mlp.up_proj.lora_a", tensor(a, {2, 2, 2})},
                                            {"x.switch_mlp.up_proj.lora_b", tensor(b, {2, 1, 2})}});
  const Adapter read(folder.path());
  const AdapterModule& module = read.modules().at("x.switch_mlp.up_proj");
  EXPECT_EQ(module.experts(), 2);
  EXPECT_EQ(rows_of(module).a, a);
  EXPECT_EQ(rows_of(module).b, b);
  EXPECT_EQ(adapter_checkpoint_name(100), "0000100_adapters.safetensors");
}

TEST(Adapter, AFolderThatCannotBeMadeIsAnInputOutputError) {
  const TemporaryFolder folder;
  folder.write("file", "");
  EXPECT_EQ(error_of([&] { write_adapter_config(folder / "file/adapters", options("lora")); }).first, Errc::io);
}

}  // namespace
}  // namespace inkstone
