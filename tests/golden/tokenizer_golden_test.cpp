// The tokenizer against the reference: every folder of <fixtures>/tokenizer with a tokenizer.json, on the encode.json,
// decode.json and stream.json beside it or one level up. One test for each kind of text.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "tests/golden/fixture_folder.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace inkstone {
namespace {

namespace fs = std::filesystem;

fs::path fixtures() { return fixture_root() / "tokenizer"; }

const Tokenizer& tokenizer_of(const fs::path& folder) {
  static std::map<fs::path, Tokenizer> loaded;
  const auto found = loaded.find(folder);
  return found != loaded.end() ? found->second : loaded.emplace(folder, Tokenizer::load(folder)).first->second;
}

Json read_json(const fs::path& file) { return Json::parse(MappedFile(file).text(), file.string()); }

std::vector<int32_t> ids_of(const Json& value) {
  std::vector<int32_t> ids;
  for (const Json& id : value.as_array()) ids.push_back(static_cast<int32_t>(id.as_int()));
  return ids;
}

std::string streamed(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip_special) {
  Detokenizer stream(tokenizer, skip_special);
  std::string text;
  for (const int32_t id : ids) text += stream.add(id);
  return text + stream.finish();
}

void check_decoding(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, const std::string& whole,
                    const std::string& without_special) {
  EXPECT_EQ(tokenizer.decode(ids), whole);
  EXPECT_EQ(tokenizer.decode(ids, true), without_special);
  EXPECT_EQ(streamed(tokenizer, ids, false), whole);
  EXPECT_EQ(streamed(tokenizer, ids, true), without_special);
}

void check_encode(const Tokenizer& tokenizer, const Json& item) {
  const std::string& text = item.find("text")->as_string();
  const std::vector<int32_t> ids = ids_of(*item.find("ids"));
  EXPECT_EQ(tokenizer.encode(text), ids) << text;
  EXPECT_EQ(tokenizer.encode(text), ids) << "a second time: " << text;
  MarkedText marked;
  marked.append(text, true);
  EXPECT_EQ(tokenizer.encode(marked), ids) << "marked: " << text;

  const Json* decoded = item.find("decoded");
  const std::string whole = decoded ? decoded->as_string() : text;
  const Json* skipped = item.find("decoded_skip_special");
  check_decoding(tokenizer, ids, whole, skipped ? skipped->as_string() : whole);

  // Typed by a user, the same text holds no added token and comes back as its normal form.
  MarkedText typed;
  typed.append(text, false);
  const std::vector<int32_t> plain = tokenizer.encode(typed);
  EXPECT_EQ(plain, tokenizer.encode_plain(text));
  for (const int32_t id : plain) EXPECT_FALSE(tokenizer.is_added(id)) << text;
  std::string scratch;
  EXPECT_EQ(tokenizer.decode(plain), nfc(text, scratch));
}

std::string without_replacement_at_end(std::string text) {
  while (text.ends_with(kReplacementCharacter)) text.resize(text.size() - kReplacementCharacter.size());
  return text;
}

// Some texts hold U+FFFD themselves, so that only what lies before a trailing run of them is certain.
void check_stream(const Tokenizer& tokenizer, const Json& item) {
  const std::vector<int32_t> ids = ids_of(*item.find("ids"));
  EXPECT_EQ(tokenizer.encode(item.find("text")->as_string()), ids);
  const Json::Array& prefixes = item.find("prefix_decodes")->as_array();
  ASSERT_EQ(prefixes.size(), ids.size());
  Detokenizer stream(tokenizer);
  std::string text;
  for (size_t k = 0; k < ids.size(); ++k) {
    text += stream.add(ids[k]);
    const std::string& expected = prefixes[k].as_string();
    EXPECT_EQ(tokenizer.decode(std::span(ids).first(k + 1)), expected);
    EXPECT_TRUE(expected.starts_with(text)) << "after " << k + 1 << " ids";
    EXPECT_EQ(without_replacement_at_end(text), without_replacement_at_end(expected)) << "after " << k + 1 << " ids";
    Detokenizer again(tokenizer);
    std::string prefix;
    for (size_t i = 0; i <= k; ++i) prefix += again.add(ids[i]);
    EXPECT_EQ(prefix + again.finish(), expected);
  }
  EXPECT_EQ(text + stream.finish(), prefixes.empty() ? "" : prefixes.back().as_string());
}

void check_item(const std::string& kind, const Tokenizer& tokenizer, const Json& item) {
  if (kind == "encode")
    check_encode(tokenizer, item);
  else if (kind == "stream")
    check_stream(tokenizer, item);
  else
    check_decoding(tokenizer, ids_of(*item.find("ids")), item.find("decoded")->as_string(),
                   item.find("decoded_skip_special")->as_string());
}

// "language:English" -> "language".
std::string group_of(const Json& item) {
  const Json* category = item.find("category");
  if (!category) return "all";
  return category->as_string().substr(0, category->as_string().find(':'));
}

class TokenizerGolden : public testing::Test {
 public:
  TokenizerGolden(fs::path folder, fs::path file, std::string group)
      : folder_(std::move(folder)), file_(std::move(file)), group_(std::move(group)) {}
  void TestBody() override {
    const Tokenizer& tokenizer = tokenizer_of(folder_);
    int checked = 0;
    const Json items = read_json(file_);
    for (const Json& item : items.as_array()) {
      if (group_of(item) != group_) continue;
      check_item(file_.stem().string(), tokenizer, item);
      ++checked;
    }
    EXPECT_GT(checked, 0);
  }

 private:
  fs::path folder_, file_;
  std::string group_;
};

class NoTokenizerFixtures : public testing::Test {
  void TestBody() override { GTEST_SKIP() << "no tokenizer in " << fixtures(); }
};

int register_folder(const fs::path& folder) {
  int registered = 0;
  for (const char* kind : {"encode", "decode", "stream"}) {
    fs::path file = folder / fmt::format("{}.json", kind);
    if (!fs::exists(file)) file = folder.parent_path() / file.filename();
    if (!fs::exists(file)) continue;
    std::set<std::string> groups;
    const Json items = read_json(file);
    for (const Json& item : items.as_array()) groups.insert(group_of(item));
    for (const std::string& group : groups) {
      const std::string name = fmt::format("{}.{}.{}", folder.filename().string(), kind, group);
      testing::RegisterTest("TokenizerGolden", name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                            [=] { return new TokenizerGolden(folder, file, group); });
      ++registered;
    }
  }
  return registered;
}

const int kRegistered = [] {
  int registered = 0;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(fixtures(), none))
    if (fs::exists(entry.path() / "tokenizer.json")) registered += register_folder(entry.path());
  if (registered == 0)
    testing::RegisterTest("TokenizerGolden", "absent", nullptr, nullptr, __FILE__, __LINE__,
                          [] { return new NoTokenizerFixtures; });
  return registered;
}();

}  // namespace
}  // namespace inkstone
