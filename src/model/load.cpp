#include "model/model.h"
#include "model/qwen3.h"
#include "model/qwen3_moe.h"

namespace inkstone {

std::unique_ptr<Model> load_model(Checkpoint& checkpoint, const ModelConfig& config, Device& device) {
  std::unique_ptr<Model> model;
  if (config.model_type == "qwen3")
    model = std::make_unique<Qwen3>(checkpoint, config, device);
  else if (config.model_type == "qwen3_moe")
    model = std::make_unique<Qwen3Moe>(checkpoint, config, device);
  else
    fail(Errc::unsupported, "{}: model_type: found \"{}\", expected qwen3 or qwen3_moe", checkpoint.folder().string(),
         config.model_type);
  checkpoint.finish();
  return model;
}

}  // namespace inkstone
