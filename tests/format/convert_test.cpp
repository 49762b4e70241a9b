#include "format/convert.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "format/quantization.h"
#include "format/random_checkpoint.h"
#include "format/shapes.h"
#include "tests/format/temporary_folder.h"

namespace inkstone {
namespace {

using Tensors = std::map<std::string, ConstTensor, std::less<>>;

void write_plain(const std::filesystem::path& folder, const char* shape, int layers = 0) {
  RandomCheckpointOptions options;
  options.config = shape_config(shape);
  if (layers > 0) options.config.num_hidden_layers = layers;
  write_random_checkpoint(folder, options);
}

// The weights of `from` through `change` into the folder `to`, which gets the other files as they are.
template <class Change>
void rewrite(const std::filesystem::path& from, const std::filesystem::path& to, Change change) {
  std::filesystem::create_directory(to);
  for (const char* name : {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(from / name, to / name);
  const Checkpoint checkpoint(from);
  Tensors tensors = checkpoint.tensors();
  change(tensors);
  write_safetensors(to / "model.safetensors", tensors, {{"format", "pt"}});
}

// As Hugging Face has them: every expert in a tensor of its own.
void set_apart(Tensors& tensors) {
  static constexpr std::string_view kStack = ".switch_mlp.";
  const Tensors all = tensors;
  for (const auto& [name, stack] : all) {
    const size_t at = name.find(kStack);
    if (at == std::string::npos) continue;
    tensors.erase(name);
    const Shape shape{stack.shape[1], stack.shape[2]};
    for (int64_t e = 0; e < stack.shape[0]; ++e)
      tensors[fmt::format("{}.experts.{}.{}", name.substr(0, at), e, name.substr(at + kStack.size()))] = {
          stack.data + e * shape.elements() * dtype_size(stack.dtype), stack.dtype, shape};
  }
}

std::string folder_text(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    files[entry.path().filename().string()] = read_file(entry.path(), size_t{1} << 30);
  std::string all;
  for (const auto& [name, text] : files) all += name + "\n" + text;
  return all;
}

size_t entries_in(const TemporaryFolder& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder.path()), {}));
}

const Quantization kFourBits{QuantMode::affine, 4, 32};

TEST(Convert, MixedRecipesGiveMoreBitsWhereMlxLmDoes) {
  const TemporaryFolder home;
  write_plain(home / "plain", "tiny", 16);
  // Of 16 layers the first two, the last two, and 2 + 2, 2 + 5, 2 + 8, 2 + 11 between them.
  const std::set<int> more{0, 1, 4, 7, 10, 13, 14, 15};
  for (const std::string_view recipe : recipe_names()) {
    SCOPED_TRACE(recipe);
    const auto save = home / recipe;
    convert({.model = home / "plain", .save = save, .quantize = kFourBits, .recipe = std::string(recipe)});
    const int low = recipe[6] - '0', high = recipe[8] - '0';
    const ModelConfig config = load_model_config(save);
    EXPECT_EQ(config.quantization, kFourBits);
    EXPECT_EQ(config.quantization_of("model.embed_tokens").bits, low);
    EXPECT_EQ(config.quantization_of("lm_head").bits, high);
    for (int layer = 0; layer < 16; ++layer)
      for (const char* module : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                                 "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
        const std::string_view name = module;
        const bool matters = name.ends_with("v_proj") || name.ends_with("down_proj");
        const std::string path = fmt::format("model.layers.{}.{}", layer, module);
        EXPECT_EQ(config.quantization_of(path).bits, matters && more.contains(layer) ? high : low) << path;
      }
    Checkpoint checkpoint(save);
    EXPECT_EQ(checkpoint.take_weight("model.layers.7.self_attn.v_proj", 16, 64, config).quantization.bits, high);
  }
}

TEST(Convert, ARecipeDecidesForTheRouterToo) {
  const TemporaryFolder home;
  write_plain(home / "plain", "tiny-moe");
  convert({.model = home / "plain", .save = home / "mixed", .quantize = kFourBits, .recipe = "mixed_3_6"});
  EXPECT_EQ(load_model_config(home / "mixed").quantization_of("model.layers.0.mlp.gate").bits, 3);
  convert({.model = home / "plain", .save = home / "four", .quantize = kFourBits});
  EXPECT_EQ(load_model_config(home / "four").quantization_of("model.layers.0.mlp.gate"),
            (Quantization{QuantMode::affine, 8, 64}));
}

TEST(Convert, ExpertsApartAndStackedGiveTheSame) {
  const TemporaryFolder home;
  write_plain(home / "stacked", "tiny-moe");
  rewrite(home / "stacked", home / "apart", [](Tensors& tensors) {
    set_apart(tensors);
    ASSERT_TRUE(tensors.contains("model.layers.0.mlp.experts.3.up_proj.weight"));
  });
  for (const bool quantised : {false, true}) {
    const auto a = home / (quantised ? "a4" : "a"), b = home / (quantised ? "b4" : "b");
    const auto quantize = quantised ? std::optional(kFourBits) : std::nullopt;
    convert({.model = home / "stacked", .save = a, .quantize = quantize, .threads = 1});
    convert({.model = home / "apart", .save = b, .quantize = quantize, .threads = 2});
    EXPECT_TRUE(folder_text(a) == folder_text(b));
    EXPECT_TRUE(Checkpoint(b).contains("model.layers.1.mlp.switch_mlp.down_proj.weight"));
  }
}

TEST(Convert, TheNumberOfThreadsDoesNotMatter) {
  const TemporaryFolder home;
  write_plain(home / "plain", "tiny-moe");
  for (const QuantMode mode : {QuantMode::affine, QuantMode::mxfp4, QuantMode::mxfp8, QuantMode::nvfp4}) {
    std::vector<std::string> made;
    for (const int threads : {1, 2, 3}) {
      const auto save = home / fmt::format("{}-{}", quant_mode_name(mode), threads);
      const Quantization quantization = default_quantization(mode);
      convert({.model = home / "plain", .save = save, .quantize = quantization, .threads = threads});
      made.push_back(folder_text(save));
    }
    EXPECT_TRUE(made[0] == made[1] && made[1] == made[2]) << quant_mode_name(mode);
  }
}

TEST(Convert, DtypesAreCastAsAskedElseAsTheConfigurationSays) {
  const TemporaryFolder home;
  write_plain(home / "plain", "tiny");  // bf16, and so says torch_dtype
  const auto dtype_in = [&](const char* folder, const char* name) {
    return Checkpoint(home / folder).tensors().at(name).dtype;
  };
  convert({.model = home / "plain", .save = home / "f32", .dtype = DType::f32});
  EXPECT_EQ(dtype_in("f32", "model.norm.weight"), DType::f32);
  EXPECT_EQ(dtype_in("f32", "model.layers.0.mlp.up_proj.weight"), DType::f32);
  convert({.model = home / "f32", .save = home / "back"});  // torch_dtype still says bf16, as the reference leaves it
  EXPECT_EQ(home.read("back/model.safetensors"), home.read("plain/model.safetensors"));
  convert({.model = home / "plain", .save = home / "q", .quantize = kFourBits, .dtype = DType::f16});
  EXPECT_EQ(dtype_in("q", "model.layers.0.mlp.up_proj.scales"), DType::f16);
  EXPECT_EQ(dtype_in("q", "model.norm.weight"), DType::f16);
  convert({.model = home / "q", .save = home / "q32", .dtype = DType::f32});  // codes stay as they are
  EXPECT_EQ(dtype_in("q32", "model.layers.0.mlp.up_proj.biases"), DType::f32);
  EXPECT_EQ(dtype_in("q32", "model.layers.0.mlp.up_proj.weight"), DType::u32);
  convert({.model = home / "q", .save = home / "plain16", .dequantize = true, .dtype = DType::f16});
  EXPECT_EQ(dtype_in("plain16", "model.layers.0.mlp.up_proj.weight"), DType::f16);
  EXPECT_FALSE(load_model_config(home / "plain16").quantization);
}

TEST(Convert, WhatTheReferenceDropsIsDropped) {
  const TemporaryFolder home;
  write_plain(home / "plain", "tiny-moe");
  const std::vector<std::byte> zeros(64 * 1024, std::byte{0});
  rewrite(home / "plain", home / "more", [&](Tensors& tensors) {
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {zeros.data(), DType::f32, Shape{8}};
    tensors["lm_head.weight"] = tensors.at("model.embed_tokens.weight");  // tied
  });
  ASSERT_TRUE(load_model_config(home / "plain").tie_word_embeddings);
  convert({.model = home / "more", .save = home / "a"});
  EXPECT_EQ(Checkpoint(home / "a").tensors().size(), Checkpoint(home / "plain").tensors().size());
  rewrite(home / "plain", home / "odd", [&](Tensors& tensors) {
    tensors["model.layers.0.self_attn.q_proj.bias"] = {zeros.data(), DType::f32, Shape{64}};
  });
  EXPECT_EQ(error_of([&] { convert({.model = home / "odd", .save = home / "b"}); }).first, Errc::bad_file);
  EXPECT_FALSE(std::filesystem::exists(home / "b"));
}

// The reference leaves a matrix plain whose rows are not whole groups.
TEST(Convert, RowsThatAreNoWholeGroupsStayPlain) {
  const TemporaryFolder home;
  RandomCheckpointOptions options;
  options.config = shape_config("tiny");
  options.config.intermediate_size = 96;
  write_random_checkpoint(home / "plain", options);
  convert({.model = home / "plain", .save = home / "made", .quantize = Quantization{QuantMode::affine, 4, 64}});
  const ModelConfig config = load_model_config(home / "made");
  Checkpoint checkpoint(home / "made");
  EXPECT_EQ(checkpoint.take_weight("model.layers.0.mlp.down_proj", 64, 96, config).quantization.mode, QuantMode::none);
  EXPECT_EQ(checkpoint.take_weight("model.layers.0.mlp.up_proj", 96, 64, config).quantization.mode, QuantMode::affine);
}

TEST(Convert, DamagedSourcesAreRefusedAndLeaveNothing) {
  const TemporaryFolder home;
  write_plain(home / "plain", "tiny");
  const auto refused = [&](const char* name, Errc code) {
    const size_t before = entries_in(home);
    const auto [found, message] =
        error_of([&] { convert({.model = home / name, .save = home / "made", .quantize = kFourBits}); });
    EXPECT_EQ(found, code) << name << ": " << message;
    EXPECT_EQ(entries_in(home), before);
  };
  rewrite(home / "plain", home / "shape", [](Tensors& tensors) {
    tensors["model.layers.1.mlp.up_proj.weight"].shape = Shape{32, 128};
  });
  rewrite(home / "plain", home / "missing", [](Tensors& tensors) { tensors.erase("model.norm.weight"); });
  rewrite(home / "plain", home / "short", [](Tensors&) {});
  std::filesystem::resize_file(home / "short" / "model.safetensors",
                               std::filesystem::file_size(home / "short" / "model.safetensors") - 1);
  for (const char* name : {"shape", "missing", "short"}) refused(name, Errc::bad_file);
  refused("none", Errc::not_found);
  convert({.model = home / "plain", .save = home / "q", .quantize = kFourBits});
  refused("q", Errc::usage);  // quantised already
}

TEST(Convert, ATargetThatIsThereIsLeftAlone) {
  const TemporaryFolder home;
  write_plain(home / "plain", "tiny");
  const std::string before = folder_text(home / "plain");
  EXPECT_EQ(error_of([&] { convert({.model = home / "plain", .save = home / "plain"}); }).first, Errc::usage);
  home.write("file", "mine");
  EXPECT_EQ(error_of([&] { convert({.model = home / "plain", .save = home / "file"}); }).first, Errc::usage);
  EXPECT_TRUE(folder_text(home / "plain") == before);
  EXPECT_EQ(home.read("file"), "mine");
  std::filesystem::create_directory(home / "empty");
  convert({.model = home / "plain", .save = home.path() / "empty" / ""});
  EXPECT_TRUE(std::filesystem::exists(home / "empty/config.json"));
  EXPECT_EQ(entries_in(home), 3u);
}

// Whatever the moment, an error or Ctrl-C leaves nothing, and a kill no folder of the name; the next run cleans up.
TEST(Convert, IsWholeOrNotThere) {
  const TemporaryFolder home;
  write_plain(home / "plain", "tiny");
  ConvertOptions options{.model = home / "plain", .save = home / "made", .quantize = kFourBits, .threads = 2};
  int steps = 0;
  options.on_progress = [&](uint64_t, uint64_t) { ++steps; };
  EXPECT_FALSE(convert(options).cleared);
  const std::string whole = folder_text(home / "made");
  std::filesystem::remove_all(home / "made");
  ASSERT_GT(steps, 5);
  for (int last = 1; last <= steps; ++last) {
    int step = 0;
    options.on_progress = [&](uint64_t, uint64_t) {
      if (++step == last) fail(Errc::interrupted, "enough");
    };
    EXPECT_EQ(error_of([&] { convert(options); }).first, Errc::interrupted);
    EXPECT_EQ(entries_in(home), 1u);
  }
  for (int last = 1; last <= steps; last += 4) {
    const pid_t child = ::fork();
    if (child == 0) {
      int step = 0;
      options.on_progress = [&](uint64_t, uint64_t) {
        if (++step == last) ::kill(::getpid(), SIGKILL);
      };
      convert(options);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    ASSERT_FALSE(std::filesystem::exists(home / "made"));
  }
  options.on_progress = {};
  EXPECT_TRUE(convert(options).cleared);
  EXPECT_TRUE(folder_text(home / "made") == whole);
  EXPECT_EQ(entries_in(home), 2u);
}

TEST(Convert, TwoAtOnceDoNotMix) {
  const TemporaryFolder home;
  write_plain(home / "plain", "tiny");
  ConvertOptions options{.model = home / "plain", .save = home / "made"};
  int refused = 0;
  options.on_progress = [&](uint64_t, uint64_t) {
    const auto [code, message] = error_of([&] { convert({.model = home / "plain", .save = home / "made"}); });
    refused += code == Errc::usage && message.find("another process") != std::string::npos;
  };
  convert(options);
  EXPECT_GT(refused, 0);
  EXPECT_EQ(entries_in(home), 2u);
}

TEST(Convert, WhatIsNotOursIsNotRemoved) {
  const TemporaryFolder home;
  write_plain(home / "plain", "tiny");
  std::filesystem::create_directories(home / "made.inkstone-part" / "mine");
  EXPECT_EQ(error_of([&] { convert({.model = home / "plain", .save = home / "made"}); }).first, Errc::usage);
  EXPECT_TRUE(std::filesystem::exists(home / "made.inkstone-part/mine"));
}

}  // namespace
}  // namespace inkstone
