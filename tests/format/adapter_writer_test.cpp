#include "format/adapter_writer.h"

#include <gtest/gtest.h>

#include "format/adapter.h"
#include "tests/format/temporary_folder.h"

namespace inkstone {
namespace {

Json options(const char* type) {
  Json json;
  json["fine_tune_type"] = type;
  json["lora_parameters"]["dropout"] = 0.0;
  json["lora_parameters"]["rank"] = 2;
  json["lora_parameters"]["scale"] = 20.0;
  json["num_layers"] = 4;
  return json;
}

std::vector<float> floats(const ConstTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.shape.elements()));
  std::memcpy(values.data(), tensor.data, tensor.bytes());
  return values;
}

TEST(AdapterWriter, LayoutsAreTheReferences) {
  const TemporaryFolder home;
  const auto folder = home / "new/adapters";
  const std::vector<float> a{1, 2, 3, 4, 5, 6}, b{1, 2, 3, 4, 5, 6, 7, 8};  // [2, 3], [4, 2]
  const std::vector<float> ea{1, 2, 3, 4, 5, 6, 7, 8}, eb{8, 7, 6, 5};      // [2, 2, 2], [2, 1, 2]
  write_adapter_config(folder, options("lora"));
  const TunedModule modules[] = {{"x.switch_mlp.up_proj", 2, 2, 2, 1, ea, eb, {}},
                                 {"model.layers.0.self_attn.q_proj", 0, 2, 3, 4, a, b, {}}};
  write_adapter_file(folder / kAdapterFile, modules);
  const Adapter read(folder);
  EXPECT_EQ(read.config().num_layers, 4);
  EXPECT_EQ(read.config().rank, 2);
  EXPECT_EQ(read.config().scale, 20);
  const AdapterModule& plain = read.modules().at("model.layers.0.self_attn.q_proj");
  EXPECT_EQ(plain.lora_a.shape, (Shape{3, 2}));
  EXPECT_EQ(floats(plain.lora_a), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(plain.lora_b.shape, (Shape{2, 4}));
  EXPECT_EQ(floats(plain.lora_b), (std::vector<float>{1, 3, 5, 7, 2, 4, 6, 8}));
  const AdapterModule& experts = read.modules().at("x.switch_mlp.up_proj");
  EXPECT_EQ(experts.lora_a.shape, (Shape{2, 2, 2}));
  EXPECT_EQ(floats(experts.lora_a), ea);
  EXPECT_EQ(experts.lora_b.shape, (Shape{2, 1, 2}));
  EXPECT_EQ(floats(experts.lora_b), eb);
}

TEST(AdapterWriter, DoraHasMagnitudes) {
  const TemporaryFolder folder;
  const std::vector<float> a{1, 2, 3, 4}, b{5, 6}, m{7};
  write_adapter_config(folder.path(), options("dora"));
  write_adapter_file(folder / kAdapterFile, std::vector<TunedModule>{{"q", 0, 2, 2, 1, a, b, m}});
  EXPECT_EQ(floats(Adapter(folder.path()).modules().at("q").m), m);
}

TEST(AdapterWriter, FullHasWholeParameters) {
  const TemporaryFolder folder;
  const std::vector<float> weight{1, 2, 3, 4, 5, 6};
  write_adapter_config(folder.path(), options("full"));
  write_adapter_file(
      folder / kAdapterFile,
      {{"model.norm.weight", ConstTensor{reinterpret_cast<const std::byte*>(weight.data()), DType::f32, Shape{2, 3}}}});
  EXPECT_EQ(floats(Adapter(folder.path()).parameters().at("model.norm.weight")), weight);
}

TEST(AdapterWriter, ASecondAdapterReplacesTheFirstAndNothingElseStays) {
  const TemporaryFolder folder;
  const std::vector<float> a{1, 2}, other{3, 4}, b{5, 6};
  write_adapter_config(folder.path(), options("lora"));
  write_adapter_file(folder / kAdapterFile, std::vector<TunedModule>{{"q", 0, 2, 1, 1, a, b, {}}});
  write_adapter_file(folder / kAdapterFile, std::vector<TunedModule>{{"q", 0, 2, 1, 1, other, b, {}}});
  EXPECT_EQ(floats(Adapter(folder.path()).modules().at("q").lora_a), other);
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) files += entry.is_regular_file();
  EXPECT_EQ(files, 2);
  EXPECT_EQ(adapter_checkpoint_name(100), "0000100_adapters.safetensors");
}

TEST(AdapterWriter, SizesThatDoNotFitAreABugOfTheCaller) {
  const TemporaryFolder folder;
  const std::vector<float> a{1, 2}, b{5, 6};
  for (const TunedModule& wrong : {TunedModule{"q", 0, 2, 2, 1, a, b, {}}, TunedModule{"q", 0, 2, 1, 2, a, b, {}},
                                   TunedModule{"q", 0, 2, 1, 1, a, b, a}, TunedModule{"q", 0, 0, 1, 1, a, b, {}}})
    EXPECT_EQ(error_of([&] { write_adapter_file(folder / kAdapterFile, std::vector<TunedModule>{wrong}); }).first,
              Errc::internal);
  EXPECT_FALSE(std::filesystem::exists(folder / kAdapterFile));
}

TEST(AdapterWriter, AFolderThatCannotBeMadeIsAnInputOutputError) {
  const TemporaryFolder folder;
  folder.write("file", "");
  EXPECT_EQ(error_of([&] { write_adapter_config(folder / "file/adapters", options("lora")); }).first, Errc::io);
}

}  // namespace
}  // namespace inkstone
