// Every adapter under lora/: loaded by a training of its model and written from there it is the same.
#include "format/safetensors_writer.h"
#include "tests/format/temporary_folder.h"
#include "tests/golden/golden_data.h"
#include "train/parameters.h"

namespace inkstone {
namespace {

std::vector<float> values_of(const ConstTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.shape.elements()));
  widen(tensor, values);
  return values;
}

void check_round_trip(const std::filesystem::path& folder) {
  const Json golden = read_json(folder / "golden.json");
  const Adapter read(folder / "adapters");
  GoldenModel opened(fixture_root() / "models" / golden.find("base_model")->as_string(), Precision::f32, "");
  AdapterConfig config = read.config();
  config.num_layers = std::min(config.num_layers, opened.model->config().num_hidden_layers);
  Parameters parameters = Parameters::adapters(dynamic_cast<Qwen3&>(*opened.model), config, 0);
  parameters.load(Safetensors(folder / "adapters" / kAdapterFile));
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, ConstTensor, std::less<>> tensors;
  for (const Parameter& parameter : parameters.all()) {
    const std::vector<float>& held = values[parameter.name] = parameters.values_for_file(parameter);
    tensors[parameter.name] = {reinterpret_cast<const std::byte*>(held.data()), DType::f32, parameter.file_shape()};
  }
  const TemporaryFolder copy;
  const Json options = read_json(folder / "adapters" / kAdapterConfigFile);
  write_adapter_config(copy.path(), options);
  write_safetensors(copy / kAdapterFile, tensors);

  const Adapter again(copy.path());
  EXPECT_EQ(read_json(copy / kAdapterConfigFile), options);
  ASSERT_EQ(again.modules().size(), read.modules().size());
  for (const auto& [name, module] : read.modules()) {
    const auto found = again.modules().find(name);
    ASSERT_NE(found, again.modules().end()) << name;
    EXPECT_EQ(found->second.lora_a.shape, module.lora_a.shape) << name;
    EXPECT_EQ(values_of(found->second.lora_a), values_of(module.lora_a)) << name;
    EXPECT_EQ(found->second.lora_b.shape, module.lora_b.shape) << name;
    EXPECT_EQ(values_of(found->second.lora_b), values_of(module.lora_b)) << name;
    EXPECT_EQ(found->second.m.shape, module.m.shape) << name;
    if (!module.m.empty()) {
      EXPECT_EQ(values_of(found->second.m), values_of(module.m)) << name;
    }
  }
}

const bool registered = [] {
  for (const auto& folder : entries(fixture_root() / "lora"))
    if (std::filesystem::exists(folder / "adapters" / kAdapterConfigFile))
      register_golden("AdapterRoundTrip", folder.filename().string(), [=] { check_round_trip(folder); });
  skip_if_none("AdapterRoundTrip", "lora");
  return true;
}();

}  // namespace
}  // namespace inkstone
