// The generator on a random model: what is cached equals what is read afresh, chunks equal the whole, and an error or a
// cancelled answer leaves a conversation that goes on rightly.
#include "engine/generator.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "format/random_checkpoint.h"
#include "format/shapes.h"

namespace inkstone {
namespace {

// A tiny model on disk for the life of the test program.
class TinyModel {
 public:
  TinyModel() : folder_(std::filesystem::temp_directory_path() / fmt::format("inkstone-generator-{}", getpid())) {
    RandomCheckpointOptions options;
    options.config = shape_config("tiny");
    options.quantization = {QuantMode::affine, 4, 32};
    write_random_checkpoint(folder_, options);
    checkpoint_ = std::make_unique<Checkpoint>(folder_);
    device_ = open_device({.precision = Precision::f32, .threads = 2, .isa = {}});
    model_ = load_model(*checkpoint_, load_model_config(folder_), *device_);
  }
  ~TinyModel() { std::filesystem::remove_all(folder_); }
  Model& model() { return *model_; }

 private:
  std::filesystem::path folder_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Model> model_;
};

class GeneratorTest : public testing::Test {
 protected:
  static std::vector<int32_t> tokens(int count, int seed = 1) {
    std::vector<int32_t> all;
    for (int i = 0; i < count; ++i) all.push_back((i * 37 + seed * 101 + i * i % 11) % 256);
    return all;
  }
  static GenerationRequest request(std::vector<int32_t> prompt, int max_tokens) {
    GenerationRequest request;
    request.prompt = std::move(prompt);
    request.max_tokens = max_tokens;
    return request;
  }
  std::vector<int32_t> fresh(const std::vector<int32_t>& prompt, int max_tokens) {
    return Generator(tiny_.model(), 2048).generate(request(prompt, max_tokens)).tokens;
  }

  TinyModel tiny_;
};

TEST_F(GeneratorTest, PromptsAtEveryBorderEqualTheirScores) {
  for (const int size : {1, 31, 32, 33, 511, 512, 513, 1025}) {
    const std::vector<int32_t> prompt = tokens(size);
    Generator generator(tiny_.model(), 2048);
    const std::vector<float> last = generator.next_logits(prompt);
    const std::vector<float> all = generator.score(prompt);
    ASSERT_EQ(all.size(), prompt.size() * last.size());
    for (size_t i = 0; i < last.size(); ++i)
      ASSERT_NEAR(last[i], all[all.size() - last.size() + i], 1e-4f) << "size " << size << " token " << i;
  }
}

TEST_F(GeneratorTest, ASecondTurnReadsOnlyWhatChanged) {
  Generator generator(tiny_.model(), 2048);
  std::vector<int32_t> conversation = tokens(100);
  const GenerationResult first = generator.generate(request(conversation, 20));
  EXPECT_EQ(first.cached_tokens, 0);
  ASSERT_EQ(first.tokens.size(), 20u);
  EXPECT_EQ(first.decode_steps, 19);
  conversation.insert(conversation.end(), first.tokens.begin(), first.tokens.end());
  const std::vector<int32_t> question = tokens(50, 2);
  conversation.insert(conversation.end(), question.begin(), question.end());
  const GenerationResult second = generator.generate(request(conversation, 20));
  EXPECT_EQ(second.cached_tokens, 119);  // all but the answer's last token, whose K and V nobody needed
  EXPECT_EQ(second.tokens, fresh(conversation, 20));
}

TEST_F(GeneratorTest, AHistoryThatChangedGoesOnFromTheChange) {
  Generator generator(tiny_.model(), 2048);
  std::vector<int32_t> prompt = tokens(200);
  generator.generate(request(prompt, 5));
  prompt[150] = (prompt[150] + 1) % 256;
  const GenerationResult result = generator.generate(request(prompt, 12));
  EXPECT_EQ(result.cached_tokens, 150);
  EXPECT_EQ(result.tokens, fresh(prompt, 12));
  const GenerationResult again = generator.generate(request(prompt, 12));
  EXPECT_EQ(again.cached_tokens, 199);  // the last is read again for its logits
  EXPECT_EQ(again.tokens, result.tokens);
}

TEST_F(GeneratorTest, CancelledInPromptOrAnswerItGoesOnRightly) {
  const std::vector<int32_t> prompt = tokens(1200);
  Generator generator(tiny_.model(), 2048);
  GenerationCallbacks callbacks;
  int calls = 0;
  callbacks.cancelled = [&] { return ++calls == 2; };
  const GenerationResult in_prompt = generator.generate(request(prompt, 10), callbacks);
  EXPECT_EQ(in_prompt.finish, FinishReason::cancelled);
  EXPECT_TRUE(in_prompt.tokens.empty());
  const GenerationResult whole = generator.generate(request(prompt, 10));
  EXPECT_EQ(whole.cached_tokens, Generator::kChunkTokens);
  EXPECT_EQ(whole.tokens, fresh(prompt, 10));

  calls = 0;
  callbacks.cancelled = [&] { return ++calls == 6; };
  const GenerationResult in_answer = generator.generate(request(prompt, 10), callbacks);
  EXPECT_EQ(in_answer.finish, FinishReason::cancelled);
  EXPECT_LT(in_answer.tokens.size(), 10u);
  EXPECT_EQ(generator.generate(request(prompt, 10)).tokens, whole.tokens);
}

TEST_F(GeneratorTest, StopTokensEndAndAreNotShown) {
  const std::vector<int32_t> prompt = tokens(40);
  const std::vector<int32_t> free = fresh(prompt, 30);
  GenerationRequest stopped = request(prompt, 30);
  stopped.stop_tokens = {free[4]};
  const GenerationResult result = Generator(tiny_.model(), 2048).generate(stopped);
  EXPECT_EQ(result.finish, FinishReason::stop);
  const auto end = std::find(free.begin(), free.end(), free[4]);
  EXPECT_EQ(result.tokens, std::vector<int32_t>(free.begin(), end));
}

TEST_F(GeneratorTest, AFullContextEndsWithLengthAndALongerPromptIsRefused) {
  Generator generator(tiny_.model(), 64);
  const GenerationResult result = generator.generate(request(tokens(60), 100));
  EXPECT_EQ(result.finish, FinishReason::length);
  EXPECT_EQ(result.tokens.size(), 4u);
  for (const int size : {64, 65, 1000}) {
    try {
      generator.generate(request(tokens(size), 1));
      FAIL() << size;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::context_length);
    }
  }
}

}  // namespace
}  // namespace inkstone
