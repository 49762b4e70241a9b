// Every adapter under lora/: read, written by us and read again it is the same.
#include "format/adapter.h"
#include "format/adapter_writer.h"
#include "tests/format/temporary_folder.h"
#include "tests/golden/golden_data.h"

namespace inkstone {
namespace {

std::vector<float> values_of(const ConstTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.shape.elements()));
  widen(tensor, values);
  return values;
}

// In rows along the input, as devices hold them.
std::vector<float> transposed(const std::vector<float>& x, int64_t rows, int64_t columns) {
  std::vector<float> y(x.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) y[j * rows + i] = x[i * columns + j];
  return y;
}

void expect_equal(const ConstTensor& found, const ConstTensor& expected, const std::string& name) {
  ASSERT_EQ(found.shape, expected.shape) << name;
  EXPECT_EQ(values_of(found), values_of(expected)) << name;
}

void check_round_trip(const std::filesystem::path& folder) {
  const Adapter read(folder);
  const TemporaryFolder copy;
  const Json options = read_json(folder / kAdapterConfigFile);
  write_adapter_config(copy.path(), options);
  std::vector<std::vector<float>> held;
  held.reserve(3 * read.modules().size());
  std::vector<TunedModule> modules;
  for (const auto& [name, module] : read.modules()) {
    TunedModule tuned{name, module.experts(), module.rank(), module.in(), module.out(), {}, {}, {}};
    const bool plain = !module.is_experts();
    const auto keep = [&](std::vector<float> values) -> std::span<const float> {
      return held.emplace_back(std::move(values));
    };
    const std::vector<float> a = values_of(module.lora_a), b = values_of(module.lora_b);
    tuned.a = keep(plain ? transposed(a, module.in(), module.rank()) : a);
    tuned.b = keep(plain ? transposed(b, module.rank(), module.out()) : b);
    if (!module.m.empty()) tuned.m = keep(values_of(module.m));
    modules.push_back(tuned);
  }
  if (read.config().fine_tune_type == FineTuneType::full)
    write_adapter_file(copy / kAdapterFile, read.parameters());
  else
    write_adapter_file(copy / kAdapterFile, modules);

  const Adapter again(copy.path());
  EXPECT_EQ(read_json(copy / kAdapterConfigFile), options);
  EXPECT_EQ(again.config().fine_tune_type, read.config().fine_tune_type);
  EXPECT_EQ(again.config().scale, read.config().scale);
  ASSERT_EQ(again.modules().size(), read.modules().size());
  for (const auto& [name, module] : read.modules()) {
    const AdapterModule& found = again.modules().find(name)->second;
    expect_equal(found.lora_a, module.lora_a, name);
    expect_equal(found.lora_b, module.lora_b, name);
    ASSERT_EQ(found.m.empty(), module.m.empty());
    if (!module.m.empty()) expect_equal(found.m, module.m, name);
  }
  ASSERT_EQ(again.parameters().size(), read.parameters().size());
  for (const auto& [name, tensor] : read.parameters())
    expect_equal(again.parameters().find(name)->second, tensor, name);
}

const bool registered = [] {
  for (const auto& folder : entries(fixture_root() / "lora"))
    if (std::filesystem::exists(folder / "adapters" / kAdapterConfigFile))
      register_golden("AdapterWriter", folder.filename().string(), [=] { check_round_trip(folder / "adapters"); });
  skip_if_none("AdapterWriter", "lora");
  return true;
}();

}  // namespace
}  // namespace inkstone
