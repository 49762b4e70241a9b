// Lines of data sets: what they become, and what is wrong with them.
#include "train/dataset.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/format/temporary_folder.h"
#include "tests/text/small_tokenizer.h"

namespace inkstone {
namespace {

// <|role|>text<|end|>, and "[none]" where thinking is off, in the prompt as in the answer.
constexpr const char* kTemplate = R"({%- if tools -%}({{ tools | length }} tools){%- endif -%}
{%- for message in messages -%}
{{ {'user': '<|user|>', 'assistant': '<|assistant|>', 'system': '<|system|>'}[message.role] }}
{%- if message.role == 'assistant' and enable_thinking is defined and not enable_thinking -%}[none]{%- endif -%}
{{ message.content }}<|end|>
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>
{%- if enable_thinking is defined and not enable_thinking -%}[none]{%- endif -%}
{%- endif -%})";

enum : int32_t { kUser = 300, kAssistant = 301, kSystem = 302, kEnd = 303, kBang = 256 };

class DatasetLines : public testing::Test {
 protected:
  DatasetLines()
      : tokenizer_(Tokenizer::parse(
            small_tokenizer({{"!", "!"}},
                            {added_token(kUser, "<|user|>", true), added_token(kAssistant, "<|assistant|>", true),
                             added_token(kSystem, "<|system|>", true), added_token(kEnd, "<|end|>", true)})
                .dump(),
            "tokenizer.json")),
        template_(ChatTemplate::parse(kTemplate, Json::Object(), "template")) {}

  Dataset load(std::string_view lines, const DatasetOptions& options = {}) const {
    folder_.write("train.jsonl", lines);
    return load_dataset(folder_ / "train.jsonl", {&tokenizer_, &template_, kEnd}, options);
  }
  Dataset masked(std::string_view lines, int max_seq_length = 2048) const {
    return load(lines, {.max_seq_length = max_seq_length, .mask_prompt = true});
  }
  // The message of the error that it ends with; file names are cut off.
  std::string refusal(std::string_view lines, bool mask = false) const {
    const auto [code, message] = error_of([&] { load(lines, {.mask_prompt = mask}); });
    EXPECT_TRUE(code == Errc::bad_file || code == Errc::unsupported) << message;
    const size_t name = message.find("train.jsonl: ");
    return name == std::string::npos ? message : message.substr(name + 13);
  }
  std::string text(const Example& example) const { return tokenizer_.decode(example.tokens); }

  TemporaryFolder folder_;
  Tokenizer tokenizer_;
  ChatTemplate template_;
};

TEST_F(DatasetLines, TextEndsWithTheEndToken) {
  const Dataset data = load("{\"text\": \"ab\"}\n\n  \r\n{\"text\": \"c<|end|>\", \"id\": 7}\r\n{\"text\": \"d\"}");
  ASSERT_EQ(data.examples.size(), 3u);
  EXPECT_EQ(data.examples[0].tokens, (std::vector<int32_t>{'a', 'b', kEnd}));
  EXPECT_EQ(data.examples[1].tokens, (std::vector<int32_t>{'c', kEnd}));  // special tokens in a text are meant
  EXPECT_EQ(data.examples[2].tokens, (std::vector<int32_t>{'d', kEnd}));
  EXPECT_EQ(data.examples[0].prompt_tokens, 0);
  EXPECT_EQ(data.longest, 3);
  EXPECT_EQ(data.truncated, 0);
}

TEST_F(DatasetLines, CompletionsAndChats) {
  const std::string lines =
      "{\"prompt\": \"q\", \"completion\": \"a\"}\n"
      "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"q\"}, "
      "{\"role\": \"assistant\", \"content\": \"a\"}], \"tools\": [{}, {}]}\n";
  const Dataset plain = load(lines);
  ASSERT_EQ(plain.examples.size(), 2u);
  EXPECT_EQ(plain.examples[0].tokens, (std::vector<int32_t>{kUser, 'q', kEnd, kAssistant, 'a', kEnd}));
  EXPECT_EQ(plain.examples[0].prompt_tokens, 0);
  EXPECT_EQ(text(plain.examples[1]), "(2 tools)<|system|>s<|end|><|user|>q<|end|><|assistant|>a<|end|>");
  const Dataset data = masked(lines);
  EXPECT_EQ(data.examples[0].tokens, plain.examples[0].tokens);
  EXPECT_EQ(data.examples[0].prompt_tokens, 4);
  EXPECT_EQ(data.examples[1].prompt_tokens, static_cast<int>(data.examples[1].tokens.size()) - 2);
}

TEST_F(DatasetLines, SpecialTokensOfAMessageStayText) {
  const Dataset data = load("{\"prompt\": \"<|end|>\", \"completion\": \"a\"}");
  EXPECT_EQ(std::count(data.examples[0].tokens.begin(), data.examples[0].tokens.end(), kEnd), 2);
}

TEST_F(DatasetLines, TheLastMessageOfAUserIsMaskedWithoutAGenerationPrompt) {
  const Dataset data = masked(
      "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"q\"}]}\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}]}\n"
      "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}\n");
  EXPECT_EQ(data.examples[0].prompt_tokens, 3);
  EXPECT_EQ(data.examples[1].prompt_tokens, 0);
  EXPECT_EQ(data.examples[2].prompt_tokens, 1);  // what calls for an answer is no answer
}

TEST_F(DatasetLines, AnEmptyThinkingBlockIsOfThePrompt) {
  const Dataset data = masked(
      "{\"prompt\": \"q\", \"completion\": \"a\", \"chat_template_kwargs\": {\"enable_thinking\": false}}\n"
      "{\"prompt\": \"q\", \"completion\": \"a\", \"chat_template_kwargs\": null}\n");
  EXPECT_EQ(text(data.examples[0]), "<|user|>q<|end|><|assistant|>[none]a<|end|>");
  EXPECT_EQ(data.examples[0].prompt_tokens, 4 + 6);
  EXPECT_EQ(data.examples[1].prompt_tokens, 4);
}

TEST_F(DatasetLines, TokensThatJoinAtTheBorderAreNotOfThePrompt) {
  const ChatTemplate joins = ChatTemplate::parse(
      "{% for m in messages %}{{ m.content }}!{% endfor %}{% if add_generation_prompt %}!{% endif %}", Json::Object(),
      "template");
  folder_.write("train.jsonl", "{\"prompt\": \"q\", \"completion\": \"!a\"}");
  const Dataset data = load_dataset(folder_ / "train.jsonl", {&tokenizer_, &joins, kEnd}, {.mask_prompt = true});
  EXPECT_EQ(data.examples[0].tokens, (std::vector<int32_t>{'q', kBang, 'a', '!'}));
  EXPECT_EQ(data.examples[0].prompt_tokens, 2);  // "q" and "!!", which the prompt alone has, too
  const ChatTemplate single =
      ChatTemplate::parse("{% for m in messages %}{{ m.content }}!{% endfor %}", Json::Object(), "template");
  const Dataset parted = load_dataset(folder_ / "train.jsonl", {&tokenizer_, &single, kEnd}, {.mask_prompt = true});
  EXPECT_EQ(parted.examples[0].tokens, (std::vector<int32_t>{'q', kBang, 'a', '!'}));
  EXPECT_EQ(parted.examples[0].prompt_tokens, 1);
}

TEST_F(DatasetLines, APromptThatTheAnswerRewritesIsWhatTheyShare) {
  const ChatTemplate rewrites = ChatTemplate::parse(
      "{% for m in messages %}{{ m.content }}{{ messages | length }}{% endfor %}", Json::Object(), "template");
  folder_.write("train.jsonl", "{\"prompt\": \"q\", \"completion\": \"a\"}");
  const Dataset data = load_dataset(folder_ / "train.jsonl", {&tokenizer_, &rewrites, kEnd}, {.mask_prompt = true});
  EXPECT_EQ(data.examples[0].prompt_tokens, 1);
}

TEST_F(DatasetLines, LongExamplesAreCutAndCounted) {
  const std::string lines =
      "{\"prompt\": \"q\", \"completion\": \"abc\"}\n{\"prompt\": \"qqqq\", \"completion\": \"a\"}\n";
  const Dataset data = masked(lines, 6);
  ASSERT_EQ(data.examples.size(), 1u);  // nothing but the prompt of the second is left
  EXPECT_EQ(data.examples[0].tokens, (std::vector<int32_t>{kUser, 'q', kEnd, kAssistant, 'a', 'b'}));
  EXPECT_EQ(data.truncated, 1);
  EXPECT_EQ(data.left_out, 1);
  EXPECT_EQ(data.longest, 9);
  EXPECT_EQ(load(lines, {.max_seq_length = 6}).examples.size(), 2u);
  EXPECT_EQ(error_of([&] { masked(lines, 3); }).first, Errc::bad_file);
}

TEST_F(DatasetLines, TokensThatTheModelLacksAreNamedWithTheirLine) {
  folder_.write("train.jsonl", "{\"text\": \"ab\"}\n{\"text\": \"az\"}\n");
  DatasetText few{&tokenizer_, nullptr, -1};
  few.vocab_size = 'z';
  const auto [code, message] = error_of([&] { load_dataset(folder_ / "train.jsonl", few, {}); });
  EXPECT_EQ(code, Errc::bad_file);
  EXPECT_NE(message.find("line 2"), std::string::npos) << message;
}

TEST_F(DatasetLines, WhatIsWrongIsSaidWithItsLine) {
  const std::string good = "{\"text\": \"a\"}\n";
  EXPECT_TRUE(refusal(good + "{\"text\": \"a\"\n").starts_with("line 2: ")) << refusal(good + "{\"text\": \"a\"\n");
  EXPECT_TRUE(refusal("\n\nnonsense").starts_with("line 3: "));
  EXPECT_EQ(refusal("[]"), "line 1: found array, expected an object");
  EXPECT_EQ(refusal("{}"), "line 1: found no keys, expected messages, prompt and completion, or text");
  EXPECT_EQ(refusal("{\"prompt\": \"a\"}"),
            "line 1: found the keys prompt, expected messages, prompt and completion, or text");
  EXPECT_EQ(refusal("{\"text\": 7}"), "line 1: text: found int, expected a string");
  EXPECT_EQ(refusal("{\"text\": \"\"}"), "line 1: text: found nothing, expected a text");
  EXPECT_EQ(refusal("{\"prompt\": null, \"completion\": \"a\"}"), "line 1: prompt: found null, expected a string");
  EXPECT_EQ(refusal("{\"prompt\": \"a\", \"completion\": \"\"}"), "line 1: completion: found nothing, expected a text");
  EXPECT_EQ(refusal("{\"messages\": {}}"), "line 1: messages: found object, expected a list");
  EXPECT_EQ(refusal("{\"messages\": []}"), "line 1: messages: found none, expected at least one");
  EXPECT_EQ(refusal("{\"messages\": [7]}"), "line 1: messages[0]: found int, expected an object with role and content");
  EXPECT_EQ(refusal("{\"messages\": [{\"content\": \"a\"}]}"), "line 1: messages[0]: role: missing");
  EXPECT_EQ(refusal("{\"messages\": [{\"role\": \"user\"}]}"), "line 1: messages[0]: content: missing");
  EXPECT_EQ(refusal("{\"messages\": [{\"role\": \"user\", \"content\": 1.5}]}"),
            "line 1: messages[0]: content: found float, expected a string");
  EXPECT_NE(refusal("{\"messages\": [{\"role\": \"assistant\", \"content\": \"\"}]}").find("nothing to learn"),
            std::string::npos);
  EXPECT_EQ(refusal("{\"prompt\": \"a\", \"completion\": \"b\", \"tools\": \"c\"}"),
            "line 1: tools: found string, expected a list");
  EXPECT_EQ(refusal("{\"prompt\": \"a\", \"completion\": \"b\", \"chat_template_kwargs\": []}"),
            "line 1: chat_template_kwargs: found array, expected an object");
  EXPECT_NE(refusal("{\"prompt\": \"a\", \"completion\": \"b\", \"chat_template_kwargs\": {\"tools\": []}}")
                .find("follows from the line"),
            std::string::npos);
  EXPECT_EQ(refusal(""), "found no example, expected at least one");
  EXPECT_EQ(refusal("\n \n"), "found no example, expected at least one");
  EXPECT_EQ(refusal("{\"text\": \"<|end|>\"}"), "line 1: found 1 tokens, expected at least 2");
  EXPECT_NE(refusal("{\"text\": \"a\"}", true).find("no prompt to mask"), std::string::npos);
  EXPECT_TRUE(refusal("{\"text\": \"\xff\"}").starts_with("line 1: "));
  EXPECT_TRUE(refusal("{\"text\": " + std::string(100000, '[') + "}").starts_with("line 1: "));
}

TEST_F(DatasetLines, ATemplateThatRaisesNamesTheLine) {
  const ChatTemplate raises =
      ChatTemplate::parse("{{ raise_exception('roles must alternate') }}", Json::Object(), "template");
  folder_.write("train.jsonl", "{\"prompt\": \"q\", \"completion\": \"a\"}");
  const auto [code, message] = error_of([&] {
    load_dataset(folder_ / "train.jsonl", {&tokenizer_, &raises, kEnd}, {});
  });
  EXPECT_EQ(code, Errc::bad_file);
  EXPECT_NE(message.find("line 1: "), std::string::npos) << message;
  EXPECT_NE(message.find("roles must alternate"), std::string::npos) << message;
  const auto [none, said] = error_of([&] { load_dataset(folder_ / "train.jsonl", {&tokenizer_, nullptr, kEnd}, {}); });
  EXPECT_EQ(none, Errc::bad_file);
  EXPECT_NE(said.find("no chat template"), std::string::npos) << said;
}

TEST_F(DatasetLines, AMissingFileIsNotFound) {
  const auto [code, message] = error_of([&] {
    load_dataset(folder_ / "valid.jsonl", {&tokenizer_, &template_, kEnd}, {});
  });
  EXPECT_EQ(code, Errc::not_found);
  EXPECT_NE(message.find("valid.jsonl"), std::string::npos);
}

TEST_F(DatasetLines, TheEndTokenOfAModelFolder) {
  EXPECT_FALSE(load_eos_token(folder_.path(), tokenizer_));
  folder_.write("tokenizer_config.json", R"({"eos_token": "<|end|>"})");
  EXPECT_EQ(load_eos_token(folder_.path(), tokenizer_), kEnd);
  folder_.write("tokenizer_config.json", R"({"eos_token": {"content": "<|user|>"}})");
  EXPECT_EQ(load_eos_token(folder_.path(), tokenizer_), kUser);
  folder_.write("tokenizer_config.json", R"({"eos_token": null})");
  EXPECT_FALSE(load_eos_token(folder_.path(), tokenizer_));
  folder_.write("tokenizer_config.json", R"({"eos_token": "<|none|>"})");
  EXPECT_EQ(error_of([&] { load_eos_token(folder_.path(), tokenizer_); }).first, Errc::bad_file);
  folder_.write("tokenizer_config.json", R"({"eos_token": 7})");
  EXPECT_EQ(error_of([&] { load_eos_token(folder_.path(), tokenizer_); }).first, Errc::bad_file);
}

}  // namespace
}  // namespace inkstone
