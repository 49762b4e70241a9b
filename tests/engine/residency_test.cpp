// Models whose weights may not all stay in memory: the same tokens, bit for bit, in every amount of memory that they
// run in at all.
#include <gtest/gtest.h>

#include <bit>

#include "engine/generator.h"
#include "format/random_checkpoint.h"
#include "format/shapes.h"
#include "tests/format/temporary_folder.h"

namespace inkstone {
namespace {

struct Opened {
  explicit Opened(const std::filesystem::path& folder)
      : checkpoint(folder),
        device(open_device({.precision = Precision::fast, .threads = 2, .isa = {}})),
        model(load_model(checkpoint, load_model_config(folder), *device)) {}

  std::vector<int32_t> tokens() {
    GenerationRequest request;
    for (int i = 0; i < 600; ++i) request.prompt.push_back(i * 37 % 256);  // two chunks
    request.sampling.temperature = 0;
    request.max_tokens = 20;
    Generator generator(*model, 1024);
    std::vector<int32_t> tokens = generator.generate(request).tokens;
    const std::vector<float> logits = generator.next_logits(std::vector<int32_t>{1, 2, 3});
    for (const float logit : logits) tokens.push_back(std::bit_cast<int32_t>(logit));
    return tokens;
  }

  Checkpoint checkpoint;
  std::unique_ptr<Device> device;
  std::unique_ptr<Model> model;
};

RandomCheckpointOptions shape(const char* name, bool tied) {
  RandomCheckpointOptions options;
  options.config = shape_config(name);
  options.config.num_hidden_layers = 9;
  options.config.hidden_size = 256;
  options.config.intermediate_size = 512;
  options.config.tie_word_embeddings = tied;
  if (options.config.num_experts > 0) {
    options.config.num_experts = 16;
    options.config.moe_intermediate_size = 128;
  }
  options.quantization = {QuantMode::affine, 4, 64};
  options.shard_bytes = 1 << 20;  // a layer may lie in two files
  return options;
}

TEST(Residency, SameTokensInEveryAmountOfMemory) {
  for (const char* name : {"tiny", "tiny-moe"}) {
    for (const bool tied : {false, true}) {
      SCOPED_TRACE(fmt::format("{}, tied {}", name, tied));
      const TemporaryFolder folder;
      write_random_checkpoint(folder.path(), shape(name, tied));
      Opened whole(folder.path());
      const std::vector<int32_t> expected = whole.tokens();
      EXPECT_FALSE(whole.model->residency().streams());
      const uint64_t bytes = whole.checkpoint.bytes();
      int streamed = 0, refused = 0;
      for (const uint64_t percent : {0, 20, 40, 60, 80, 95, 500}) {
        Opened limited(folder.path());
        if (!limited.model->limit_weights(limited.checkpoint, bytes * percent / 100)) {
          EXPECT_LT(percent, 80u);
          ++refused;
          continue;
        }
        const Residency& residency = limited.model->residency();
        EXPECT_EQ(residency.streams(), percent < 500) << percent;
        streamed += residency.streams() ? 1 : 0;
        if (residency.streams()) {
          EXPECT_LE(residency.kept_bytes(), bytes * percent / 100);
        }
        EXPECT_EQ(limited.tokens(), expected) << percent << " % of memory";
      }
      EXPECT_GE(streamed, 2);
      EXPECT_GE(refused, 1);
    }
  }
}

}  // namespace
}  // namespace inkstone
