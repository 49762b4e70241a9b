// Cases of convert/: tensor for tensor, and both JSON files whole, as the reference's conversion wrote them; what we
// wrote opens and answers as what it wrote. And the quantisations that configurations under models/ tell: the same from
// the same options.
#include <cstring>

#include "format/convert.h"
#include "format/quantization.h"
#include "tests/format/temporary_folder.h"
#include "tests/golden/golden_data.h"

namespace inkstone {
namespace {

// The options that led to a configuration's quantization. Nothing: those of another tool or of a rule of its own.
std::optional<ConvertOptions> options_for(const Json& config, const std::string& folder_name) {
  ConvertOptions options;
  options.threads = 2;
  const Json* quantization = config.find("quantization");
  if (quantization == nullptr) return options;
  const Json* mode = quantization->find("mode");
  if (mode == nullptr) return std::nullopt;
  options.quantize =
      Quantization{quant_mode_of(mode->as_string()).value(), static_cast<int>(quantization->find("bits")->as_int()),
                   static_cast<int>(quantization->find("group_size")->as_int())};
  for (const std::string_view recipe : recipe_names())
    if (folder_name.find(recipe) != std::string::npos) options.recipe = recipe;
  for (const auto& [name, value] : quantization->as_object())
    if (options.recipe.empty() && value.is_object() && !name.ends_with("mlp.gate")) return std::nullopt;
  return options;
}

std::vector<float> logits_of(const std::filesystem::path& folder) {
  GoldenModel opened(folder, Precision::f32, "");
  const std::vector<int32_t> sequence{1, 5, 9, 2, 7, 30, 11};
  Generator generator(*opened.model, static_cast<int>(sequence.size()));
  return generator.score(sequence);
}

void check_conversion(const std::filesystem::path& folder) {
  const std::filesystem::path golden = folder / "mlx";
  const TemporaryFolder home;
  ConvertOptions options =
      options_for(read_json(golden / "config.json"), folder.filename().string()).value_or(ConvertOptions{});
  options.model = folder / "hf";
  options.save = home / "made";
  convert(options);
  EXPECT_EQ(home.read("made/config.json"), read_file(golden / "config.json", size_t{1} << 20));
  EXPECT_EQ(read_json(options.save / "model.safetensors.index.json").dump(),
            read_json(golden / "model.safetensors.index.json").dump());
  const Checkpoint found(options.save), wanted(golden);
  EXPECT_EQ(found.tensors().size(), wanted.tensors().size());
  for (const auto& [name, tensor] : wanted.tensors()) {
    const auto at = found.tensors().find(name);
    ASSERT_TRUE(at != found.tensors().end()) << name;
    EXPECT_EQ(at->second.dtype, tensor.dtype) << name;
    ASSERT_EQ(at->second.shape, tensor.shape) << name;
    EXPECT_EQ(std::memcmp(at->second.data, tensor.data, tensor.bytes()), 0) << name;
  }
  EXPECT_EQ(logits_of(options.save), logits_of(golden));
}

// A quantised model made plain and quantised again has the same configuration.
void check_configuration(const std::filesystem::path& folder) {
  const Json config = read_json(folder / "config.json");
  const TemporaryFolder home;
  ConvertOptions plain{.model = folder, .save = home / "plain", .dequantize = true};
  convert(plain);
  EXPECT_EQ(read_json(home / "plain" / "config.json").find("quantization"), nullptr);
  ConvertOptions again = options_for(config, folder.filename().string()).value();
  again.model = home / "plain";
  again.save = home / "again";
  convert(again);
  EXPECT_EQ(home.read("again/config.json"), read_file(folder / "config.json", size_t{1} << 20));
  EXPECT_EQ(logits_of(home / "again").size(), logits_of(folder).size());
}

const bool registered = [] {
  for (const auto& folder : entries(fixture_root() / "convert"))
    if (std::filesystem::exists(folder / "mlx" / "config.json"))
      register_golden("Convert", folder.filename().string(), [=] { check_conversion(folder); });
  skip_if_none("Convert", "convert");
  for (const auto& folder : entries(fixture_root() / "models")) {
    const Json config = read_json(folder / "config.json");
    const std::string name = folder.filename().string();
    if (config.find("quantization") != nullptr && options_for(config, name))
      register_golden("ConvertConfiguration", name, [=] { check_configuration(folder); });
  }
  skip_if_none("ConvertConfiguration", "models with a quantisation of today's mlx_lm");
  return true;
}();

}  // namespace
}  // namespace inkstone
