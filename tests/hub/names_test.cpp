// What becomes a path or a URL: names, revisions, files of a repository, aliases; and the digests that name blobs.
#include "hub/names.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "base/error.h"
#include "hub/aliases.h"
#include "hub/cache.h"
#include "hub/digest.h"

namespace inkstone {
namespace {

TEST(HubNames, Models) {
  const auto name = parse_model_name("mlx-community/Qwen3-0.6B_4bit");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->org, "mlx-community");
  EXPECT_EQ(name->name, "Qwen3-0.6B_4bit");
  for (const char* text : {"", "a", "/", "a/", "/b", "a/b/c", "../b", "a/..", "a/.b", "a./b", "-a/b", "a/b-", "a--c/b",
                           "a/b..c", "a /b", "a/b\n", "a/b\\c", "a/\xc3\xa9"})
    EXPECT_FALSE(parse_model_name(text)) << text;
  EXPECT_FALSE(parse_model_name("a/" + std::string(97, 'b')));
  EXPECT_FALSE(parse_model_name(std::string_view("a/b\0c", 5)));
}

TEST(HubNames, Revisions) {
  for (const char* text : {"main", "v1.0", "refs/pr/1", "0123456789abcdef0123456789abcdef01234567"})
    EXPECT_NO_THROW(check_revision(text)) << text;
  for (const char* text : {"", "..", "a/../b", "/a", "a/", "a//b", "a b", "a..b", "a\\b", "a%2f", "a\n"})
    EXPECT_THROW(check_revision(text), Error) << text;
  EXPECT_TRUE(is_commit("0123456789abcdef0123456789abcdef01234567"));
  EXPECT_FALSE(is_commit("0123456789ABCDEF0123456789abcdef01234567"));
  EXPECT_FALSE(is_commit("main"));
}

TEST(HubNames, Files) {
  for (const char* text : {"config.json", "a/b/c.json", "..x", "x..", ".gitattributes", "\xc3\xa9.json"})
    EXPECT_NO_THROW(check_repository_path(text, "test")) << text;
  for (const char* text : {"", ".", "..", "/x", "x/", "a//b", "a/./b", "a/../b", "../x", "a\\b", "a\nb", "a\x7f"})
    EXPECT_THROW(check_repository_path(text, "test"), Error) << text;
  EXPECT_THROW(check_repository_path(std::string_view("a\0b", 3), "test"), Error);
  EXPECT_THROW(check_repository_path(std::string(201, 'x'), "test"), Error);
  for (const char* text : {"config.json", "model-00001-of-00002.safetensors", "merges.txt", "chat_template.jinja"})
    EXPECT_TRUE(is_runtime_file(text)) << text;
  for (const char* text : {"README.md", "onnx/config.json", "modeling.py", "model.bin", ".x.json", "vocab.txt"})
    EXPECT_FALSE(is_runtime_file(text)) << text;
}

TEST(HubAliases, EachStandsForAModelAndNoTwoAreTheSame) {
  std::set<std::string> names, models;
  for (const Alias& alias : aliases()) {
    EXPECT_TRUE(names.insert(alias.name).second) << alias.name;
    EXPECT_TRUE(models.insert(alias.model).second) << alias.model;
    const auto name = find_model_name(alias.name);
    ASSERT_TRUE(name) << alias.name;
    EXPECT_EQ(name->text(), alias.model);
  }
  EXPECT_EQ(find_model_name("qwen3:0.6b")->text(), "Qwen/Qwen3-0.6B-MLX-4bit");
  EXPECT_EQ(find_model_name("Qwen3:235B-A22B-bf16")->text(), "Qwen/Qwen3-235B-A22B-MLX-bf16");
  EXPECT_EQ(find_model_name("qwen3:8b-4bit")->text(), "Qwen/Qwen3-8B-MLX-4bit");
  EXPECT_EQ(find_model_name("Qwen/Qwen3-8B")->text(), "Qwen/Qwen3-8B");
  EXPECT_FALSE(find_model_name("qwen3:7b"));
  EXPECT_FALSE(find_model_name("qwen3"));
}

std::string digest_of(DigestKind kind, std::string_view text) {
  Digest digest(kind, text.size());
  digest.update(std::as_bytes(std::span(text.substr(0, text.size() / 2))));
  digest.update(std::as_bytes(std::span(text.substr(text.size() / 2))));
  return digest.finish();
}

TEST(HubDigests, OfKnownBytes) {
  EXPECT_EQ(digest_of(DigestKind::sha256, "abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest_of(DigestKind::git_blob, ""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  EXPECT_EQ(digest_of(DigestKind::git_blob, "hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
}

// Variables of the environment, put back afterwards.
class Variables {
 public:
  explicit Variables(const std::vector<std::pair<const char*, const char*>>& set) {
    for (const char* name :
         {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE",
          "MODELSCOPE_CACHE", "MODELSCOPE_DOMAIN", "MODELSCOPE_ENDPOINT", "HOME"}) {
      const char* value = std::getenv(name);
      before_.emplace_back(name, value == nullptr ? std::optional<std::string>() : value);
      unsetenv(name);
    }
    for (const auto& [name, value] : set) setenv(name, value, 1);
  }
  ~Variables() {
    for (const auto& [name, value] : before_)
      if (value)
        setenv(name, value->c_str(), 1);
      else
        unsetenv(name);
  }

 private:
  std::vector<std::pair<const char*, std::optional<std::string>>> before_;
};

TEST(HubSettings, CachesAndEndpoints) {
  const auto cache = [](const std::vector<std::pair<const char*, const char*>>& set, Hub hub = Hub::huggingface) {
    const Variables variables(set);
    return hub_settings(hub).cache.string();
  };
  EXPECT_EQ(cache({{"HOME", "/h"}}), "/h/.cache/huggingface/hub");
  EXPECT_EQ(cache({{"HOME", "/h"}, {"XDG_CACHE_HOME", "/x"}}), "/x/huggingface/hub");
  EXPECT_EQ(cache({{"HOME", "/h"}, {"XDG_CACHE_HOME", "/x"}, {"HF_HOME", "~/f"}}), "/h/f/hub");
  EXPECT_EQ(cache({{"HF_HUB_CACHE", "/c"}, {"HF_HOME", "/f"}}), "/c");
  EXPECT_EQ(cache({{"HOME", "/h"}}, Hub::modelscope), "/h/.cache/modelscope/hub");
  EXPECT_EQ(cache({{"MODELSCOPE_CACHE", "/m"}}, Hub::modelscope), "/m");
  EXPECT_THROW(cache({}), Error);
  {
    const Variables variables({{"HOME", "/h"}, {"HF_ENDPOINT", "https://mirror/"}, {"HF_HUB_OFFLINE", "true"}});
    EXPECT_EQ(hub_settings(Hub::huggingface).endpoint, "https://mirror");
    EXPECT_TRUE(hub_settings(Hub::huggingface).offline);
  }
  const Variables variables({{"HOME", "/h"}, {"MODELSCOPE_DOMAIN", "example.org"}, {"HF_HUB_OFFLINE", "0"}});
  EXPECT_EQ(hub_settings(Hub::modelscope).endpoint, "https://example.org");
  EXPECT_EQ(hub_settings(Hub::huggingface).endpoint, "https://huggingface.co");
  EXPECT_FALSE(hub_settings(Hub::huggingface).offline);
  EXPECT_EQ(model_folder(hub_settings(Hub::modelscope), {"Qwen", "Qwen3-0.6B"}),
            "/h/.cache/modelscope/hub/models/Qwen/Qwen3-0___6B");
}

}  // namespace
}  // namespace inkstone
