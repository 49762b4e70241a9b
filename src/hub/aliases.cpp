#include "hub/aliases.h"

#include <fmt/core.h>

#include <algorithm>

namespace inkstone {
namespace {

// The models of Qwen that have MLX folders of Qwen itself, each in four sizes of weight.
constexpr const char* kSizes[] = {"0.6B", "1.7B", "4B", "8B", "14B", "32B", "30B-A3B", "235B-A22B"};
constexpr const char* kBits[] = {"4bit", "6bit", "8bit", "bf16"};

// Those that others converted. A repository stands here only if it was seen to exist under exactly this name.
struct Row {
  const char* name;
  const char* model;
};
constexpr Row kOthers[] = {
    {"qwen3:4b-instruct-2507", "lmstudio-community/Qwen3-4B-Instruct-2507-MLX-4bit"},
    {"qwen3:4b-instruct-2507-8bit", "lmstudio-community/Qwen3-4B-Instruct-2507-MLX-8bit"},
    {"qwen3:4b-thinking-2507", "lmstudio-community/Qwen3-4B-Thinking-2507-MLX-4bit"},
    {"qwen3:4b-thinking-2507-8bit", "lmstudio-community/Qwen3-4B-Thinking-2507-MLX-8bit"},
    {"qwen3:30b-a3b-instruct-2507", "lmstudio-community/Qwen3-30B-A3B-Instruct-2507-MLX-4bit"},
    {"qwen3:30b-a3b-instruct-2507-6bit", "lmstudio-community/Qwen3-30B-A3B-Instruct-2507-MLX-6bit"},
    {"qwen3:30b-a3b-instruct-2507-8bit", "lmstudio-community/Qwen3-30B-A3B-Instruct-2507-MLX-8bit"},
    {"qwen3:30b-a3b-thinking-2507", "mlx-community/Qwen3-30B-A3B-Thinking-2507-4bit"},
    {"qwen3:30b-a3b-thinking-2507-6bit", "lmstudio-community/Qwen3-30B-A3B-Thinking-2507-MLX-6bit"},
    {"qwen3:30b-a3b-thinking-2507-8bit", "lmstudio-community/Qwen3-30B-A3B-Thinking-2507-MLX-8bit"},
    {"qwen3:235b-a22b-instruct-2507", "lmstudio-community/Qwen3-235B-A22B-Instruct-2507-MLX-4bit"},
    {"qwen3:235b-a22b-instruct-2507-6bit", "lmstudio-community/Qwen3-235B-A22B-Instruct-2507-MLX-6bit"},
    {"qwen3:235b-a22b-instruct-2507-8bit", "lmstudio-community/Qwen3-235B-A22B-Instruct-2507-MLX-8bit"},
    {"qwen3:235b-a22b-thinking-2507", "mlx-community/Qwen3-235B-A22B-Thinking-2507-4bit"},
    {"qwen3:235b-a22b-thinking-2507-8bit", "mlx-community/Qwen3-235B-A22B-Thinking-2507-8bit"},
    {"qwen3-coder:30b-a3b", "lmstudio-community/Qwen3-Coder-30B-A3B-Instruct-MLX-4bit"},
    {"qwen3-coder:30b-a3b-6bit", "lmstudio-community/Qwen3-Coder-30B-A3B-Instruct-MLX-6bit"},
    {"qwen3-coder:30b-a3b-8bit", "lmstudio-community/Qwen3-Coder-30B-A3B-Instruct-MLX-8bit"},
    {"qwen3-coder:480b-a35b", "lmstudio-community/Qwen3-Coder-480B-A35B-Instruct-MLX-4bit"},
    {"qwen3-embedding:0.6b", "mlx-community/Qwen3-Embedding-0.6B-4bit-DWQ"},
    {"qwen3-embedding:0.6b-8bit", "mlx-community/Qwen3-Embedding-0.6B-8bit"},
    {"qwen3-embedding:4b", "mlx-community/Qwen3-Embedding-4B-4bit-DWQ"},
    {"qwen3-embedding:4b-mxfp8", "mlx-community/Qwen3-Embedding-4B-mxfp8"},
    {"qwen3-embedding:8b", "mlx-community/Qwen3-Embedding-8B-4bit-DWQ"},
    {"qwen3-embedding:8b-mxfp8", "mlx-community/Qwen3-Embedding-8B-mxfp8"},
    {"qwen3-reranker:0.6b", "mlx-community/Qwen3-Reranker-0.6B-4bit"},
    {"qwen3-reranker:0.6b-mxfp8", "mlx-community/Qwen3-Reranker-0.6B-mxfp8"},
    {"qwen3-reranker:4b-mxfp8", "mlx-community/Qwen3-Reranker-4B-mxfp8"},
    {"qwen3-reranker:8b-mxfp8", "mlx-community/Qwen3-Reranker-8B-mxfp8"},
};

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return out;
}

std::vector<Alias> all_aliases() {
  std::vector<Alias> list;
  for (const char* size : kSizes)
    for (const char* bits : kBits) {
      const std::string tag = bits == kBits[0] ? "" : fmt::format("-{}", bits);
      list.push_back({fmt::format("qwen3:{}{}", lower(size), tag), fmt::format("Qwen/Qwen3-{}-MLX-{}", size, bits)});
    }
  for (const Row& row : kOthers) list.push_back({row.name, row.model});
  return list;
}

}  // namespace

const std::vector<Alias>& aliases() {
  static const std::vector<Alias> list = all_aliases();
  return list;
}

std::optional<ModelName> find_model_name(std::string_view text) {
  std::string name = lower(text);
  if (name.starts_with("qwen3") && name.ends_with("-4bit")) name.resize(name.size() - 5);  // what no tag means
  const auto found = std::ranges::find(aliases(), name, &Alias::name);
  return parse_model_name(found == aliases().end() ? text : std::string_view(found->model));
}

}  // namespace inkstone
