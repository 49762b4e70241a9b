#include "train/fuse.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/error.h"
#include "format/adapter.h"
#include "format/atomic_folder.h"

namespace inkstone {
namespace {

class Fuser {
 public:
  explicit Fuser(const FuseOptions& options)
      : options_(options), conversion_(options.model, options.threads, options.on_progress), adapter_(options.adapter) {
    if (options.dequantize) conversion_.make_plain();
    for (const auto& [name, module] : adapter_.modules()) place_module(name, module);
    for (const auto& [name, tensor] : adapter_.parameters()) place_parameter(name, tensor);
  }

  FuseReport run() {
    expect_new_or_empty(options_.save);  // before the work, not after it
    measure();
    if (!options_.force && loses_tuning(report_.quantized)) refuse();
    report_.written = conversion_.write(options_.save);
    return std::move(report_);
  }

 private:
  static bool is_quantized(const ConvertedModule& module) { return module.format.quantization.mode != QuantMode::none; }

  ConvertedModule& module_of(std::string_view path) {
    auto& modules = conversion_.modules();
    const auto found = std::ranges::find(modules, path, &ConvertedModule::path);
    if (found == modules.end())
      fail(Errc::bad_file, "{}: {}: expected a module of the model {}", options_.adapter.string(), path,
           options_.model.string());
    return *found;
  }

  void place_module(const std::string& name, const AdapterModule& adapter) {
    ConvertedModule& module = module_of(name);
    const WeightView& w = module.weight;
    if (module.is_norm() || name == "model.embed_tokens")
      fail(Errc::unsupported, "{}: {}: found an adapter of an embedding or norm, expected one of a linear layer",
           options_.adapter.string(), name);
    if (adapter.in() != w.in || adapter.out() != w.out || adapter.experts() != w.experts)
      fail(Errc::bad_file, "{}: {}: found {} experts, {} -> {}, expected {} experts, {} -> {} as in the model",
           options_.adapter.string(), name, adapter.experts(), adapter.in(), adapter.out(), w.experts, w.in, w.out);
    if (adapter.is_experts() && !adapter.m.empty())
      fail(Errc::unsupported, "{}: {}: DoRA on experts", options_.adapter.string(), name);
    module.edit = [this, &module, &adapter] {
      return std::make_unique<ModuleFuser>(module, adapter, adapter_.config().scale,
                                           [this, &module](const TuningLoss& loss) { take_loss(module, loss); });
    };
  }

  void place_parameter(const std::string& name, const ConstTensor& tensor) {
    static constexpr std::string_view kWeight = ".weight";
    ConvertedModule& module = module_of(name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size()) : name);
    if (is_quantized(module))
      fail(Errc::bad_file,
           "{}: {}: found a whole parameter, but the model's is quantised: --dequantize writes a plain model",
           options_.adapter.string(), name);
    const Shape shape = module.specs().front().shape;
    if (tensor.shape != shape ||
        (tensor.dtype != DType::f32 && tensor.dtype != DType::bf16 && tensor.dtype != DType::f16))
      fail(Errc::bad_file, "{}: {}: found {} {}, expected BF16, F16 or F32 {} as in the model",
           options_.adapter.string(), name, dtype_name(tensor.dtype), tensor.shape.to_string(), shape.to_string());
    module.replacement = &tensor;
    ++report_.replaced;
  }

  // Of a module that is quantised again it comes twice: when it is measured, and when it is written.
  void take_loss(const ConvertedModule& module, const TuningLoss& loss) {
    if (!(std::isfinite(loss.wanted) && std::isfinite(loss.written)))
      fail(Errc::bad_file, "{}: {}: found numbers that are not finite, expected finite ones", options_.adapter.string(),
           module.path);
    if (is_measured_ && is_quantized(module)) return;
    report_.modules.push_back({module.path, module.format.quantization, loss});
    (is_quantized(module) ? report_.quantized : report_.plain).add(loss);
  }

  // What becomes of the tuning in the modules that are quantised again.
  void measure() {
    const auto each = [this](auto&& call) {
      for (const ConvertedModule& module : conversion_.modules())
        if (module.edit && is_quantized(module)) call(module);
    };
    each([this](const ConvertedModule& module) { conversion_.announce(module); });
    each([this](const ConvertedModule& module) { conversion_.rehearse(module); });
    is_measured_ = true;
  }

  [[noreturn]] void refuse() const {
    const TuningLoss& loss = report_.quantized;
    fail(Errc::unsupported,
         "{}: quantised again, the model would lose the tuning: {:.0f} % of it would be left (at least {:.0f} % are "
         "asked for), with noise of {:.2f} times its size (at most {:.2f}). --dequantize writes a plain model, which "
         "keeps it; --adapter uses the adapter beside the model without fusing; --force writes it all the same",
         options_.adapter.string(), 100 * loss.survival(), 100 * kLeastSurvival, loss.noise(), kMostNoise);
  }

  const FuseOptions& options_;
  Conversion conversion_;
  Adapter adapter_;
  FuseReport report_;
  bool is_measured_ = false;
};

}  // namespace

bool loses_tuning(const TuningLoss& loss) {
  return !loss.is_empty() && (loss.survival() < kLeastSurvival || loss.noise() > kMostNoise);
}

FuseReport fuse(const FuseOptions& options) { return Fuser(options).run(); }

}  // namespace inkstone
