#include "model/lora.h"

#include <algorithm>
#include <cmath>

#include "format/adapter.h"
#include "format/quantization.h"

namespace inkstone {
namespace {

// DoRA (Liu et al. 2024, arXiv:2402.09353): m / ||W + scale * b a|| of each output row. a [r, in], b [out, r].
std::vector<float> dora_magnitude(const WeightView& weight, const AdapterRows& rows, int64_t rank, float scale) {
  std::vector<float> magnitude = rows.m;
  std::vector<float> row(static_cast<size_t>(weight.in));
  for (int64_t o = 0; o < weight.out; ++o) {
    dequantize_row(weight, o, row);
    for (int64_t r = 0; r < rank; ++r) {
      const float factor = scale * rows.b[static_cast<size_t>(o * rank + r)];
      for (int64_t i = 0; i < weight.in; ++i)
        row[static_cast<size_t>(i)] += factor * rows.a[static_cast<size_t>(r * weight.in + i)];
    }
    double squares = 0;
    for (const float value : row) squares += static_cast<double>(value) * value;
    // A row of zeros stays one.
    magnitude[static_cast<size_t>(o)] *= squares > 0 ? static_cast<float>(1 / std::sqrt(squares)) : 0.0f;
  }
  return magnitude;
}

void check_fits(const std::string& name, const AdapterModule& module, const Linear& linear) {
  const bool fits =
      module.in() == linear.in() && module.out() == linear.out() && module.experts() == linear.weight.experts;
  if (!fits)
    fail(Errc::bad_file, "adapter: {}: found {} experts, {} -> {}, expected {} experts, {} -> {} as in the model", name,
         module.experts(), module.in(), module.out(), linear.weight.experts, linear.in(), linear.out());
}

}  // namespace

void attach_adapter(Model& model, const std::filesystem::path& folder) {
  const Adapter adapter(folder);
  if (adapter.config().fine_tune_type == FineTuneType::full)
    fail(Errc::unsupported, "{}: fine_tune_type: found full, expected lora or dora", folder.string());
  Device& device = model.device();
  const std::vector<Linear*> linears = model.linears();
  for (const auto& entry : adapter.modules()) {
    const std::string& name = entry.first;
    const AdapterModule& module = entry.second;
    const auto found = std::ranges::find_if(linears, [&](const Linear* linear) { return linear->name() == name; });
    if (found == linears.end())
      fail(Errc::bad_file, "{}: module {}: expected one of the model's linear layers", folder.string(), name);
    Linear& linear = **found;
    check_fits(name, module, linear);
    const AdapterRows rows = rows_of(module);
    auto lora = std::make_unique<Lora>();
    lora->rank = static_cast<int>(module.rank());
    lora->scale = adapter.config().scale;
    if (!module.m.empty()) {
      if (module.is_experts()) fail(Errc::unsupported, "{}: module {}: DoRA on experts", folder.string(), name);
      lora->magnitude = device.upload(dora_magnitude(linear.weight, rows, module.rank(), lora->scale));
    }
    lora->a = device.upload(rows.a);
    lora->b = device.upload(rows.b);
    linear.lora = std::move(lora);
  }
}

}  // namespace inkstone
