// Every checkpoint folder of the fixtures: the model takes what it needs, and nothing is left; or it is refused as
// unsupported for its model_type.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "format/checkpoint.h"
#include "format/model_config.h"
#include "model/model.h"
#include "tests/golden/fixture_folder.h"

namespace inkstone {
namespace {

void open_whole(const std::filesystem::path& folder) {
  const ModelConfig config = load_model_config(folder);
  Checkpoint checkpoint(folder);
  EXPECT_GT(checkpoint.bytes(), 0u);
  EXPECT_THROW(checkpoint.finish(), Error);  // nobody has taken anything yet
  const std::unique_ptr<Device> device = open_device({});
  load_model(checkpoint, config, *device);  // takes every tensor, or throws
}

bool is_supported(const std::filesystem::path& folder) {
  const Json config = Json::parse(read_file(folder / "config.json", 1 << 24), "config.json");
  const Json* type = config.find("model_type");
  return type != nullptr && type->is_string() && (type->as_string() == "qwen3" || type->as_string() == "qwen3_moe");
}

TEST(CheckpointGolden, EveryFolderIsTakenWholeOrRefusedByType) {
  int taken = 0, refused = 0;
  for (const auto& folder : checkpoint_folders(fixture_root())) {
    SCOPED_TRACE(folder.string());
    if (is_supported(folder)) {
      EXPECT_NO_THROW(open_whole(folder));
      ++taken;
      continue;
    }
    try {
      load_model_config(folder);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::unsupported) << error.what();
      EXPECT_NE(std::string(error.what()).find("model_type"), std::string::npos) << error.what();
      ++refused;
    }
  }
  if (taken + refused == 0) GTEST_SKIP() << "no checkpoints in " << fixture_root();
  RecordProperty("taken", taken);
  RecordProperty("refused", refused);
}

}  // namespace
}  // namespace inkstone
