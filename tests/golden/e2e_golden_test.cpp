// Every case under e2e/: from messages to text with the real vocabulary, through the code that the command line runs.
// The model folder is put together from the fixture's weights, a published tokenizer and a published template. Which
// template a case was made with is found out: it is the one that renders its prompt.
#include <unistd.h>

#include <set>

#include "engine/completion.h"
#include "tests/golden/golden_data.h"

namespace inkstone {
namespace {

namespace fs = std::filesystem;

// A folder of links that disappears with it.
class LinkedFolder {
 public:
  LinkedFolder() : path_(fs::temp_directory_path() / fmt::format("inkstone-e2e-{}-{}", getpid(), counter_++)) {
    fs::create_directories(path_);
  }
  ~LinkedFolder() { fs::remove_all(path_); }
  void add(const fs::path& file, const std::string& name) { fs::create_symlink(fs::absolute(file), path_ / name); }
  const fs::path& path() const { return path_; }

 private:
  static inline int counter_ = 0;
  fs::path path_;
};

std::vector<fs::path> tokenizer_folders() {
  std::vector<fs::path> folders;
  for (const auto& folder : entries(fixture_root() / "tokenizer"))
    if (fs::exists(folder / "tokenizer.json") && fs::exists(folder / "tokenizer_config.json"))
      folders.push_back(folder);
  return folders;
}

void check_greedy(LanguageModel& model, const Json& entry) {
  Generator generator(model.model(), 4096);
  CompletionOptions options;
  options.sampling.temperature = 0;
  options.sampling.logprobs = 20;
  options.max_tokens = static_cast<int>(entry.find("greedy")->as_array().size());
  if (const Json* thinking = entry.find("kwargs")->find("enable_thinking")) options.thinking = thinking->as_bool();
  const Json* tools = entry.find("tools");
  const Json no_tools;
  std::string streamed;
  const Completion completion =
      complete_chat(model, generator, *entry.find("messages"), tools != nullptr ? *tools : no_tools, options,
                    [&](const OutputEvent& event) {
                      if (event.kind == OutputEvent::Kind::content) streamed += event.text;
                    });
  EXPECT_EQ(completion.generation.tokens, token_list(*entry.find("greedy")));
  EXPECT_EQ(model.tokenizer().decode(completion.generation.tokens), entry.find("text")->as_string());
  EXPECT_EQ(completion.text, entry.find("text_skip_special")->as_string());
  EXPECT_EQ(streamed, completion.text);
  ASSERT_FALSE(completion.tokens.empty());
  const auto& expected = entry.find("first_step_top20")->as_array();
  const auto& top = completion.tokens.front().top;
  ASSERT_EQ(top.size(), expected.size());
  for (size_t i = 0; i < top.size(); ++i)
    EXPECT_NEAR(top[i].logprob, expected[i].as_array()[1].as_double(), kLogitTolerance) << "rank " << i;
  EXPECT_EQ(top.front().token, expected.front().as_array()[0].as_int());
}

void check_folder(const fs::path& folder, const fs::path& tokenizer, const std::string& isa) {
  const Json golden = read_json(folder / "golden.json");
  std::set<size_t> answered;
  const auto& cases = golden.find("cases")->as_array();
  for (const auto& jinja : entries(fixture_root() / "chat" / "templates")) {
    LinkedFolder linked;
    for (const auto& file : entries(folder))
      if (!file.filename().string().starts_with("golden")) linked.add(file, file.filename().string());
    linked.add(tokenizer / "tokenizer.json", "tokenizer.json");
    linked.add(tokenizer / "tokenizer_config.json", "tokenizer_config.json");
    linked.add(jinja, "chat_template.jinja");
    LanguageModel model(linked.path(),
                        {.device = {.precision = Precision::f32, .threads = 2, .isa = isa}, .adapter = {}});
    for (size_t i = 0; i < cases.size(); ++i) {
      const Json* thinking = cases[i].find("kwargs")->find("enable_thinking");
      const Json* tools = cases[i].find("tools");
      const std::vector<int32_t> ids =
          encode_chat(model, *cases[i].find("messages"), tools != nullptr ? *tools : Json(),
                      thinking ? std::optional(thinking->as_bool()) : std::nullopt);
      if (answered.count(i) > 0 || ids != token_list(*cases[i].find("prompt_ids"))) continue;
      SCOPED_TRACE(fmt::format("case {}", i));
      check_greedy(model, cases[i]);
      answered.insert(i);
    }
  }
  EXPECT_EQ(answered.size(), cases.size()) << "cases whose prompt no template renders";
}

const bool registered = [] {
  const auto tokenizers = tokenizer_folders();
  for (const auto& folder : entries(fixture_root() / "e2e")) {
    if (!fs::exists(folder / "golden.json") || tokenizers.empty()) continue;
    for (const std::string& isa : isa_names())
      register_golden("EndToEnd", folder.filename().string() + "_" + isa,
                      [=] { check_folder(folder, tokenizers.front(), isa); });
  }
  skip_if_none("EndToEnd", "e2e with a tokenizer");
  return true;
}();

}  // namespace
}  // namespace inkstone
