// Damaged files: each that index.json lists must be refused with an Error, every other file must open.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "format/safetensors.h"
#include "tests/golden/fixture_folder.h"

namespace inkstone {
namespace {

TEST(MalformedGolden, DamagedFilesAreRefusedAndSoundOnesOpen) {
  const auto folder = fixture_root() / "malformed";
  if (!std::filesystem::exists(folder / "index.json")) GTEST_SKIP() << "no malformed fixtures in " << fixture_root();
  const Json index = Json::parse(read_file(folder / "index.json", 1 << 20), "index.json");
  ASSERT_TRUE(index.is_object());
  int refused = 0, opened = 0;
  for (const auto& path : entries(folder)) {
    if (path.extension() != ".safetensors") continue;
    const Json* why = index.find(path.filename().string());
    if (why == nullptr) {
      EXPECT_NO_THROW(Safetensors{path}) << path;
      ++opened;
      continue;
    }
    try {
      const Safetensors file(path);
      ADD_FAILURE() << path << ": opened, though " << why->dump();
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == Errc::bad_file || error.code() == Errc::unsupported) << error.what();
      EXPECT_NE(std::string(error.what()).find(path.filename().string()), std::string::npos) << error.what();
      ++refused;
    }
  }
  EXPECT_EQ(refused, static_cast<int>(index.as_object().size()));
  RecordProperty("refused", refused);
  RecordProperty("opened", opened);
}

}  // namespace
}  // namespace inkstone
