// Every checkpoint of models/ with adapters on all of its linears, and every dense one with DoRA: the gradient against
// the loss' own change along random directions, in float32; and the gradient of the fast precision against it.
#include <random>

#include "tests/golden/golden_data.h"
#include "train/backward.h"

namespace inkstone {
namespace {

struct Tuned {
  Tuned(const std::filesystem::path& folder, FineTuneType type, Precision precision, const std::string& isa)
      : opened(folder, precision, isa), model(dynamic_cast<Qwen3&>(*opened.model)), parameters(make(type)) {
    const Json golden = read_json(folder / "golden.json");
    for (const auto& [name, tokens] : golden.find("sequences")->as_object())
      if (tokens.as_array().size() > 1 && tokens.as_array().size() < 50) batch.add(token_list(tokens), 3);
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (const Parameter& p : parameters.all())  // b begins with zeros, where a learns nothing
      if (p.name.ends_with(".lora_b"))
        for (float& value : values(p.value)) value = 0.05f * normal(random);
    parameters.publish();
  }

  Parameters make(FineTuneType type) {
    if (type == FineTuneType::full) return Parameters::weights(model, -1);
    AdapterConfig config;
    config.fine_tune_type = type;
    config.rank = 3;
    config.scale = 2;
    return Parameters::adapters(model, config, 5);
  }
  static std::span<float> values(const Tensor& tensor) {
    return {tensor.as<float>(), static_cast<size_t>(tensor.shape.elements())};
  }

  GoldenModel opened;
  Qwen3& model;
  Parameters parameters;
  TrainBatch batch;
};

// Moves along a direction in the parameters whose names end with `suffix`; with DoRA's norms held where only a and b
// move, since they count as constants.
void check_direction(Tuned& tuned, Backward& backward, const std::string& suffix, bool publish) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  std::vector<std::pair<Tensor, std::vector<float>>> moves;
  double slope = 0;
  for (const Parameter& p : tuned.parameters.all()) {
    if (!p.name.ends_with(suffix)) continue;
    const std::span<const float> gradient = Tuned::values(p.gradient);
    std::vector<float> direction(gradient.size());
    double norm = 0;
    for (const float g : gradient) norm += static_cast<double>(g) * g;
    norm = std::sqrt(norm / static_cast<double>(gradient.size()));
    // Half along the gradient, so that the slope is not chance; of few values, so that float32 resolves their steps.
    const size_t stride = direction.size() > 1000 ? 61 : 1;
    for (size_t i = 0; i < direction.size(); i += stride) {
      direction[i] = gradient[i] + static_cast<float>(norm) * normal(random);
      slope += static_cast<double>(direction[i]) * gradient[i];
    }
    moves.emplace_back(p.value, std::move(direction));
  }
  ASSERT_GT(slope, 0) << suffix;
  const auto loss_at = [&](float step) {
    std::vector<std::vector<float>> saved;
    for (const auto& [value, direction] : moves) {
      const std::span<float> values = Tuned::values(value);
      saved.emplace_back(values.begin(), values.end());
      for (size_t i = 0; i < direction.size(); ++i) values[i] += step * direction[i];
    }
    if (publish) tuned.parameters.publish();
    const double loss = backward.loss(tuned.batch);
    for (size_t m = 0; m < moves.size(); ++m) std::ranges::copy(saved[m], Tuned::values(moves[m].first).begin());
    if (publish) tuned.parameters.publish();
    return loss;
  };
  // A step that changes the loss, of about a hundred, by some hundredths: far above float32's noise, and mostly
  // straight.
  const float step = static_cast<float>(0.01 / slope);
  const double found = (loss_at(step) - loss_at(-step)) / (2 * static_cast<double>(step));
  EXPECT_NEAR(found, slope, 0.03 * slope) << suffix;
}

void check(const std::filesystem::path& folder, FineTuneType type, const std::string& isa) {
  Tuned tuned(folder, type, Precision::f32, isa);
  Backward backward(tuned.model, tuned.parameters, false);
  tuned.parameters.clear_gradients();
  const double loss = backward.accumulate(tuned.batch, 1.0f);
  EXPECT_NEAR(loss, backward.loss(tuned.batch), 1e-4 * loss);
  if (type == FineTuneType::full) return check_direction(tuned, backward, ".weight", true);
  for (const char* part : {".lora_a", ".lora_b"}) check_direction(tuned, backward, part, false);
  if (type == FineTuneType::dora) check_direction(tuned, backward, ".m", true);
}

// The fast precision rounds activations and KV to bf16 and, in a matrix unit, products' operands: its gradient is
// within some hundredths of float32's, taken as one long vector.
void check_fast(const std::filesystem::path& folder, FineTuneType type, const std::string& isa) {
  std::vector<std::vector<float>> gradients;
  for (const Precision precision : {Precision::f32, Precision::fast}) {
    Tuned tuned(folder, type, precision, isa);
    Backward backward(tuned.model, tuned.parameters, true);
    tuned.parameters.clear_gradients();
    backward.accumulate(tuned.batch, 1.0f);
    std::vector<float>& all = gradients.emplace_back();
    for (const Parameter& p : tuned.parameters.all()) {
      const std::span<const float> gradient = Tuned::values(p.gradient);
      all.insert(all.end(), gradient.begin(), gradient.end());
    }
  }
  double difference = 0, length = 0;
  for (size_t i = 0; i < gradients[0].size(); ++i) {
    difference += std::pow(static_cast<double>(gradients[0][i]) - gradients[1][i], 2);
    length += std::pow(static_cast<double>(gradients[0][i]), 2);
  }
  EXPECT_LT(std::sqrt(difference / length), 0.1);
}

const bool registered = [] {
  for (const auto& folder : entries(fixture_root() / "models")) {
    if (!std::filesystem::exists(folder / "golden.json")) continue;
    const bool moe = load_model_config(folder).is_moe_layer(0) || load_model_config(folder).num_experts > 0;
    const std::string name = folder.filename().string();
    for (const std::string& isa : isa_names()) {
      const auto add = [&](const char* kind, FineTuneType type) {
        register_golden("TrainDirection", name + "_" + kind + "_" + isa, [=] { check(folder, type, isa); });
        if (!moe && isa != "scalar")  // where experts flip in bf16, gradients do, too
          register_golden("TrainFast", name + "_" + kind + "_" + isa, [=] { check_fast(folder, type, isa); });
      };
      add("lora", FineTuneType::lora);
      if (!moe) add("dora", FineTuneType::dora);
      add("full", FineTuneType::full);
    }
  }
  skip_if_none("TrainDirection", "models");
  return true;
}();

}  // namespace
}  // namespace inkstone
