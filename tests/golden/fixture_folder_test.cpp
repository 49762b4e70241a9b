// The golden tests skip what a set of fixtures does not hold. These say which set is in use, and fail where skipping
// would hide that nothing at all was tested.
#include "tests/golden/fixture_folder.h"

#include <gtest/gtest.h>

#include <iostream>

#include "base/json.h"
#include "base/mapped_file.h"

namespace inkstone {
namespace {

namespace fs = std::filesystem;

// Every kind of golden data that a test of ours looks for.
const char* const kKinds[] = {"models", "lora",      "sampling", "malformed", "prompt_cache", "quant",
                              "train",  "tokenizer", "chat",     "e2e",       "convert"};

TEST(Fixtures, SomeWereFound) {
  const fs::path root = fixture_root();
  ASSERT_TRUE(fs::is_directory(root)) << "no fixtures at all: " << root << " is not a folder";
  std::string found, absent;
  for (const char* kind : kKinds) (entries(root / kind).empty() ? absent : found).append(" ").append(kind);
  std::cout << "fixtures: " << root.string() << ":" << found << (absent.empty() ? "" : "; absent:") << absent << "\n";
  EXPECT_FALSE(found.empty()) << root << " holds none of:" << absent;
}

// Without a model and its golden there is no check of a forward pass, whatever else is green.
TEST(Fixtures, AModelHasItsGolden) {
  int models = 0;
  for (const fs::path& folder : checkpoint_folders(fixture_root() / "models"))
    if (fs::exists(folder / "golden.json") && fs::exists(folder / "golden.safetensors")) ++models;
  EXPECT_GT(models, 0) << "no checkpoint with golden.json and golden.safetensors in " << fixture_root() / "models";
}

// What a user's clone has: each kind of the small set is there, and what names a base model finds it.
TEST(Fixtures, OurSmallSetIsWhole) {
  const fs::path own = fs::path(INKSTONE_SOURCE_DIR) / "tests/data/fixtures";
  EXPECT_GE(checkpoint_folders(own / "models").size(), 3u);
  EXPECT_FALSE(entries(own / "sampling").empty());
  EXPECT_FALSE(entries(own / "malformed").empty());
  std::vector<fs::path> goldens = {own / "prompt_cache" / "golden.json"};
  for (const fs::path& folder : entries(own / "lora")) goldens.push_back(folder / "golden.json");
  EXPECT_GE(goldens.size(), 2u);
  for (const fs::path& golden : goldens) {
    const Json json = Json::parse(read_file(golden, 1 << 20), golden.string());
    const Json* base = json.find("base_model");
    ASSERT_NE(base, nullptr) << golden;
    EXPECT_TRUE(fs::exists(own / "models" / base->as_string() / "config.json")) << golden << ": " << base->as_string();
  }
}

}  // namespace
}  // namespace inkstone
