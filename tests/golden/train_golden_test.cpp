// Every case under train/: losses, gradients and parameters after three steps of each optimiser, against the
// reference's; with the tapes kept and made anew.
#include "format/adapter.h"
#include "tests/golden/golden_data.h"
#include "train/backward.h"
#include "train/optimizer.h"

namespace inkstone {
namespace {

// From the fixtures' README.
constexpr double kLossTolerance = 1e-3;
constexpr float kParameterTolerance = 1e-4f;
// The reference's gradients agree with float64 finite differences to about 1e-5 relative: of the largest of a tensor.
constexpr float kGradientTolerance = 1e-4f;

std::vector<int32_t> golden_integers(const Safetensors& file, const std::string& name, Shape& shape) {
  const ConstTensor& tensor = *file.find(name);
  shape = tensor.shape;
  std::vector<int32_t> values(static_cast<size_t>(shape.elements()));
  std::memcpy(values.data(), tensor.data, tensor.bytes());
  return values;
}

TrainBatch whole_batch(const Safetensors& data) {
  Shape shape;
  const std::vector<int32_t> tokens = golden_integers(data, "batch", shape);
  TrainBatch batch;
  for (int64_t b = 0; b < shape[0]; ++b)
    batch.add(std::span(tokens).subspan(static_cast<size_t>(b * shape[1]), static_cast<size_t>(shape[1])), 0);
  return batch;
}

// mlx_lm's default_loss: targets s with offset <= s <= length, one past the end counted.
std::optional<TrainBatch> masked_batch(const Safetensors& data) {
  if (data.find("padded_batch") == nullptr || data.find("lengths") == nullptr) return std::nullopt;
  Shape shape, lengths_shape;
  const std::vector<int32_t> tokens = golden_integers(data, "padded_batch", shape);
  const std::vector<int32_t> lengths = golden_integers(data, "lengths", lengths_shape);
  TrainBatch batch;
  for (int64_t b = 0; b < shape[0]; ++b) {
    const size_t count = std::min(static_cast<size_t>(shape[1]), static_cast<size_t>(lengths[2 * b + 1]) + 1);
    batch.add(std::span(tokens).subspan(static_cast<size_t>(b * shape[1]), count), lengths[2 * b]);
  }
  return batch;
}

struct TrainCase {
  TrainCase(const std::filesystem::path& folder, Precision precision, const std::string& isa)
      : golden(read_json(folder / "golden.json")),
        data(folder / "golden.safetensors"),
        opened(golden.find("base_model") != nullptr ? fixture_root() / "models" / golden.find("base_model")->as_string()
                                                    : folder / "model",
               precision, isa),
        model(dynamic_cast<Qwen3&>(*opened.model)),
        parameters(std::filesystem::exists(folder / "adapters") ? tuned(folder / "adapters")
                                                                : Parameters::weights(model, -1)) {}

  Parameters tuned(const std::filesystem::path& adapters) {
    AdapterConfig config = Adapter(adapters).config();
    config.num_layers = std::min(config.num_layers, model.config().num_hidden_layers);
    Parameters learned = Parameters::adapters(model, config, 0);
    learned.load(Safetensors(adapters / kAdapterFile));
    return learned;
  }

  Json golden;
  Safetensors data;
  GoldenModel opened;
  Qwen3& model;
  Parameters parameters;
};

void expect_gradients(TrainCase& c, const std::string& kind) {
  size_t checked = 0;
  for (const Parameter& p : c.parameters.all()) {
    std::vector<float> expected = golden_values(c.data, "grad_" + kind + "." + p.name);
    ASSERT_FALSE(expected.empty()) << p.name;
    Parameter gradient = p;
    gradient.value = p.gradient;
    const std::vector<float> found = c.parameters.values_for_file(gradient);
    float largest = 1e-6f;
    for (const float value : expected) largest = std::max(largest, std::abs(value));
    EXPECT_LT(max_difference(found, expected) / largest, kGradientTolerance) << p.name;
    ++checked;
  }
  size_t known = 0;
  for (const auto& entry : c.data.tensors()) known += entry.first.starts_with("grad_" + kind + ".");
  EXPECT_EQ(checked, known);
}

void check_gradients(const std::filesystem::path& folder, const std::string& isa, bool recompute) {
  TrainCase c(folder, Precision::f32, isa);
  Backward backward(c.model, c.parameters, recompute);
  const TrainBatch batch = whole_batch(c.data);
  const float scale = 1.0f / static_cast<float>(batch.target_count());
  const double expected = c.golden.find("losses")->find("mean_ce")->as_double();
  EXPECT_NEAR(backward.loss(batch) * scale, expected, kLossTolerance);
  c.parameters.clear_gradients();
  EXPECT_NEAR(backward.accumulate(batch, scale) * scale, expected, kLossTolerance);
  expect_gradients(c, "mean_ce");
  if (const auto masked = masked_batch(c.data)) {
    const Json& losses = *c.golden.find("losses");
    EXPECT_EQ(masked->target_count(), losses.find("mlx_lm_default_loss_ntokens")->as_int());
    const float part = 1.0f / static_cast<float>(masked->target_count());
    c.parameters.clear_gradients();
    EXPECT_NEAR(backward.accumulate(*masked, part) * part, losses.find("mlx_lm_default_loss")->as_double(),
                kLossTolerance);
    expect_gradients(c, "default_loss");
  }
}

void check_optimizer(const std::filesystem::path& folder, const std::string& name, const std::string& isa) {
  TrainCase c(folder, Precision::f32, isa);
  OptimizerConfig config;
  OptimizerKind kind = OptimizerKind::adam;
  float rate = 1e-3f;
  if (name == "adam_bias_corrected") {
    config.bias_correction = true;
  } else if (name == "adamw") {
    kind = OptimizerKind::adamw;
    config.weight_decay = 0.01f;
  } else if (name == "sgd") {
    kind = OptimizerKind::sgd;
    rate = 1e-2f;
  } else {
    ASSERT_EQ(name, "adam") << "an optimiser that this test does not know";
  }
  Optimizer optimizer(c.parameters, kind, config);
  Backward backward(c.model, c.parameters, false);
  const TrainBatch batch = whole_batch(c.data);
  const float scale = 1.0f / static_cast<float>(batch.target_count());
  const auto& losses = c.golden.find("losses")->find(name)->as_array();
  for (size_t step = 0; step < losses.size(); ++step) {
    c.parameters.clear_gradients();
    EXPECT_NEAR(backward.accumulate(batch, scale) * scale, losses[step].as_double(), kLossTolerance) << "step " << step;
    if (step + 1 < losses.size()) optimizer.step(rate);
  }
  for (const Parameter& p : c.parameters.all()) {
    const std::vector<float> expected = golden_values(c.data, "after3." + name + "." + p.name);
    ASSERT_FALSE(expected.empty()) << p.name;
    EXPECT_LT(max_difference(c.parameters.values_for_file(p), expected), kParameterTolerance) << p.name;
  }
}

const bool registered = [] {
  for (const auto& folder : entries(fixture_root() / "train")) {
    if (!std::filesystem::exists(folder / "golden.json")) continue;
    const std::string name = folder.filename().string();
    for (const std::string& isa : isa_names()) {
      for (const bool recompute : {false, true})
        register_golden("TrainGradients", name + "_" + isa + (recompute ? "_recomputed" : ""),
                        [=] { check_gradients(folder, isa, recompute); });
      const Json golden = read_json(folder / "golden.json");
      for (const auto& [key, value] : golden.find("losses")->as_object())
        if (value.is_array())
          register_golden("TrainSteps", name + "_" + key + "_" + isa,
                          [=, key = key] { check_optimizer(folder, key, isa); });
    }
  }
  skip_if_none("TrainGradients", "train");
  return true;
}();

}  // namespace
}  // namespace inkstone
