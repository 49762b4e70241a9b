// token_ids of chat/: messages -> ids, template and tokenizer together. The reference reads special tokens that a
// message contains; we keep them as text. Where our ids differ it must be for that reason alone: with every special
// token of the text recognised they are the reference's, and the message did hold one.
#include "tests/golden/golden_data.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace inkstone {
namespace {

namespace fs = std::filesystem;

void check_case(const Tokenizer& tokenizer, const fs::path& jinja, const Json& entry, const Json& special_tokens,
                const Json& golden) {
  const ChatTemplate chat_template = ChatTemplate::parse(read_file(jinja, 1 << 20), special_tokens, jinja.string());
  const Json* tools = entry.find("tools");
  const Json* kwargs = entry.find("kwargs");
  const MarkedText text =
      chat_template.render(*entry.find("messages"), tools != nullptr ? *tools : Json(),
                           kwargs != nullptr && kwargs->is_object() ? *kwargs : Json(Json::Object()));
  const std::vector<int32_t> expected = token_list(golden);
  const std::vector<int32_t> found = tokenizer.encode(text);
  if (found == expected) return;
  EXPECT_EQ(tokenizer.encode(text.text), expected);
  EXPECT_EQ(tokenizer.decode(found), tokenizer.decode(expected));
  testing::Test::RecordProperty("differs", "a message holds special tokens, which stay text here");
  std::printf("%s: a message holds special tokens: %zu ids here, where they are text; %zu in the reference\n",
              entry.find("name")->as_string().c_str(), found.size(), expected.size());
}

void check_file(const fs::path& file, const fs::path& tokenizer_folder) {
  const Json golden = read_json(file);
  const Tokenizer tokenizer = Tokenizer::load(tokenizer_folder);
  int checked = 0;
  for (const Json& entry : golden.find("cases")->as_array()) {
    const Json* ids = entry.find("token_ids");
    if (ids == nullptr || !ids->is_object()) continue;
    for (const auto& [name, list] : ids->as_object()) {
      if (!list.is_array()) continue;
      SCOPED_TRACE(entry.find("name")->as_string() + " " + name);
      check_case(tokenizer, file.parent_path() / "templates" / (name + ".jinja"), entry, *golden.find("special_tokens"),
                 list);
      ++checked;
    }
  }
  EXPECT_GT(checked, 0);
}

const bool registered = [] {
  for (const auto& folder : entries(fixture_root() / "tokenizer")) {
    if (!fs::exists(folder / "tokenizer.json")) continue;
    // A file of cases carries ids of the tokenizer of its own name.
    const fs::path file = fixture_root() / "chat" / (folder.filename().string() + ".json");
    if (fs::exists(file)) register_golden("PromptIds", folder.filename().string(), [=] { check_file(file, folder); });
  }
  skip_if_none("PromptIds", "chat with a tokenizer");
  return true;
}();

}  // namespace
}  // namespace inkstone
