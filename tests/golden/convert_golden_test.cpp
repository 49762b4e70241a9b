// Cases of convert/ that quantise to affine codes from the dtype that the model has: tensor for tensor, and the
// quantisation that the configuration tells, as the reference's conversion wrote them.
#include <unistd.h>

#include "tests/golden/golden_data.h"
#include "train/fuse.h"

namespace inkstone {
namespace {

std::map<std::string, ConstTensor, std::less<>> tensors_of(std::vector<Safetensors>& files,
                                                           const std::filesystem::path& folder) {
  std::map<std::string, ConstTensor, std::less<>> all;
  for (const auto& path : entries(folder))
    if (path.extension() == ".safetensors") {
      files.emplace_back(path);
      for (const auto& [name, tensor] : files.back().tensors()) all[name] = tensor;
    }
  return all;
}

void check_conversion(const std::filesystem::path& folder) {
  const Json wanted_config = read_json(folder / "mlx" / "config.json");
  const Json& wanted_quantization = *wanted_config.find("quantization");
  const auto number = [&](const char* name) { return static_cast<int>(wanted_quantization.find(name)->as_int()); };
  const std::filesystem::path save = std::filesystem::temp_directory_path() /
                                     fmt::format("inkstone-convert-{}-{}", folder.filename().string(), ::getpid());
  std::filesystem::remove_all(save);
  FuseOptions options;
  options.model = folder / "hf";
  options.save = save;
  options.quantize = {.mode = QuantMode::affine, .bits = number("bits"), .group_size = number("group_size")};
  fuse(options);
  EXPECT_EQ(read_json(save / "config.json").find("quantization")->dump(), wanted_quantization.dump());
  std::vector<Safetensors> files;
  const auto found = tensors_of(files, save), wanted = tensors_of(files, folder / "mlx");
  EXPECT_EQ(found.size(), wanted.size());
  for (const auto& [name, tensor] : wanted) {
    const auto at = found.find(name);
    ASSERT_TRUE(at != found.end()) << name;
    EXPECT_EQ(at->second.dtype, tensor.dtype) << name;
    ASSERT_EQ(at->second.shape, tensor.shape) << name;
    EXPECT_EQ(std::memcmp(at->second.data, tensor.data, tensor.bytes()), 0) << name;
  }
  std::filesystem::remove_all(save);
}

const bool registered = [] {
  for (const auto& folder : entries(fixture_root() / "convert")) {
    if (!std::filesystem::exists(folder / "mlx" / "config.json")) continue;
    const Json config = read_json(folder / "mlx" / "config.json");
    const Json* quantization = config.find("quantization");
    if (quantization == nullptr) continue;
    const Json* mode = quantization->find("mode");
    if (mode != nullptr && *mode != Json("affine")) continue;
    register_golden("Convert", folder.filename().string(), [=] { check_conversion(folder); });
  }
  skip_if_none("Convert", "convert");
  return true;
}();

}  // namespace
}  // namespace inkstone
