#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>

#include "base/mapped_file.h"
#include "cli/eval_report.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "format/atomic_file.h"
#include "train/dataset.h"

namespace inkstone {
namespace {

constexpr size_t kMostText = size_t{1} << 30;

struct EvalFlags {
  ModelFlags model;
  std::vector<std::string> models;
  std::vector<std::string> data;
  std::vector<std::string> texts;
  std::string reference;
  int window = 512;
  bool mask_prompt = false;
  std::optional<int> max_tokens;
  std::optional<bool> thinking;
  int limit = 0;
  bool wrong = false;
  bool json = false;
  std::string svg;
};

// A model with the cache that evaluations run in.
struct Opened {
  LanguageModel model;
  Generator generator;

  explicit Opened(const ModelFlags& flags)
      : model(flags.folder(), flags.load_options()), generator(model.model(), flags.context_size(model)) {}
};

// The texts as this model's tokenizer cuts them: a .jsonl file by its lines, another by windows.
std::vector<Passage> passages(const EvalFlags& flags, const Opened& opened) {
  std::vector<Passage> all;
  for (const std::string& file : flags.texts) {
    std::vector<Passage> found;
    if (file.ends_with(".jsonl")) {
      const Tokenizer& tokenizer = opened.model.tokenizer();
      const DatasetText text{
          .tokenizer = &tokenizer,
          .chat_template = opened.model.has_chat_template() ? &opened.model.chat_template() : nullptr,
          .eos_token = load_eos_token(opened.model.folder(), tokenizer).value_or(-1),
          .vocab_size = opened.model.config().vocab_size};
      // Nothing is cut: a chat beyond the context is an error.
      const DatasetOptions options{.max_seq_length = std::numeric_limits<int>::max(), .mask_prompt = flags.mask_prompt};
      for (const Example& example : load_dataset(file, text, options).examples)
        found.push_back({example.tokens, std::max(1, example.prompt_tokens)});
    } else {
      found = passages_of(opened.model.tokenizer(), read_file(file, kMostText), flags.window);
    }
    if (found.empty()) fail(Errc::bad_file, "{}: found less than two tokens, expected a text", file);
    std::ranges::move(found, std::back_inserter(all));
  }
  if (flags.limit > 0 && all.size() > static_cast<size_t>(flags.limit)) all.resize(static_cast<size_t>(flags.limit));
  return all;
}

PassagesScore score_texts(const EvalFlags& flags, Opened& opened, Opened* reference) {
  const std::vector<Passage> found = passages(flags, opened);
  if (reference != nullptr) {
    const std::vector<Passage> expected = passages(flags, *reference);
    if (!std::ranges::equal(found, expected, {}, &Passage::tokens, &Passage::tokens))
      fail(Errc::usage, "--reference: its tokenizer cuts the text otherwise, expected that of --model");
  }
  ProgressLine progress;
  PassagesScore score =
      score_passages(opened.generator, reference != nullptr ? &reference->generator : nullptr, found, [&](size_t done) {
        progress.show(fmt::format("text {} of {}", done, found.size()));
        return !InterruptGuard::interrupted();
      });
  progress.clear();
  return score;
}

void ask(const EvalFlags& flags, const std::vector<Question>& questions, Opened& opened, EvalReport& report) {
  CompletionOptions options;
  options.max_tokens = flags.max_tokens;
  options.thinking = flags.thinking;
  options.cancelled = [] { return InterruptGuard::interrupted(); };
  if (flags.wrong) report.wrong = Json::Array();
  ProgressLine progress;
  size_t done = 0;
  report.scores = evaluate(opened.model, opened.generator, questions, options, [&](const Answered& answered) {
    progress.show(fmt::format("question {} of {}", ++done, questions.size()));
    if (answered.right || !flags.wrong) return;
    if (!flags.json) {
      progress.clear();
      std::printf("%s\n  expected  %s\n  found     %s\n", answered.question->where.c_str(),
                  one_line(answered.question->expected).c_str(), one_line(answered.found).c_str());
      return;
    }
    Json entry;
    entry["question"] = answered.question->where;
    entry["expected"] = answered.question->expected;
    entry["found"] = answered.found;
    report.wrong.push_back(std::move(entry));
  });
  progress.clear();
}

EvalReport evaluate_model(const EvalFlags& flags, const ModelFlags& model, const std::vector<Question>& questions,
                          Opened* reference) {
  Opened opened(model);
  EvalReport report;
  report.model = model.model.empty() ? opened.model.folder().string() : model.model;
  report.bytes = static_cast<double>(opened.model.checkpoint().bytes());
  const auto start = std::chrono::steady_clock::now();
  if (!flags.texts.empty()) report.texts = score_texts(flags, opened, reference);
  if (!questions.empty()) ask(flags, questions, opened, report);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

void print(const EvalFlags& flags, const std::vector<EvalReport>& reports) {
  if (!flags.json) return print_reports(reports);
  Json json = report_json(reports.front());
  if (reports.size() > 1) {
    json = Json();
    json["models"] = Json::Array();
    for (const EvalReport& report : reports) json["models"].push_back(report_json(report));
  }
  std::printf("%s\n", json.dump(2).c_str());
  std::fflush(stdout);
}

void run_eval(const EvalFlags& flags) {
  if (flags.data.empty() && flags.texts.empty())
    fail(Errc::usage, "eval: expected --data FILE with questions, or --text FILE to predict");
  std::vector<Question> questions;
  for (const std::string& file : flags.data)
    for (Question& question : load_questions(file)) questions.push_back(std::move(question));
  if (flags.limit > 0 && questions.size() > static_cast<size_t>(flags.limit))
    questions.resize(static_cast<size_t>(flags.limit));
  if (!flags.svg.empty() && !std::filesystem::is_directory(std::filesystem::absolute(flags.svg).parent_path()))
    fail(Errc::io, "--svg {}: no such folder", flags.svg);
  // All models are there before the first is measured.
  for (const std::string& name : flags.models) model_path("--model", name);
  const InterruptGuard guard;
  std::unique_ptr<Opened> reference;
  if (!flags.reference.empty()) {
    ModelFlags named = flags.model;
    named.model = flags.reference;
    named.adapter.clear();
    reference = std::make_unique<Opened>(named);
  }
  std::vector<EvalReport> reports;
  for (const std::string& name : flags.models.empty() ? std::vector<std::string>{""} : flags.models) {
    ModelFlags model = flags.model;
    model.model = name;
    reports.push_back(evaluate_model(flags, model, questions, reference.get()));
  }
  print(flags, reports);
  if (!flags.svg.empty()) write_file_atomically(flags.svg, quality_svg(reports));
}

}  // namespace

void add_eval(CLI::App& app) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* verb = app.add_subcommand("eval", "Count right answers; measure perplexity and what a quantisation lost");
  flags->model.add_to(*verb);
  verb->remove_option(verb->get_option("--model"));
  verb->add_option("-m,--model", flags->models, "One model or several, in a row each (default: nano)");
  verb->add_option(
      "--data", flags->data,
      "Questions, one a line: chats whose last message is the expected answer; or question, choices, answer");
  CLI::Option* text = verb->add_option("--text", flags->texts, "Texts to predict; of a .jsonl file, its chats");
  verb->add_option("--reference", flags->reference, "Model whose predictions of --text are right: KL, agreement")
      ->needs(text);
  verb->add_option("--window", flags->window, "Tokens of a text that are read at once (default: 512)")
      ->check(CLI::Range(2, 1 << 20))
      ->needs(text);
  verb->add_flag("--mask-prompt", flags->mask_prompt, "Of the chats of --text, predict the last message only")
      ->needs(text);
  verb->add_option("-n,--max-tokens", flags->max_tokens, "Most tokens of an answer, thinking included")
      ->check(CLI::Range(1, 1 << 24));
  verb->add_option("--limit", flags->limit, "Only so many of the questions, and of the texts' parts")
      ->check(CLI::Range(1, 1'000'000'000));
  verb->add_flag_callback(
      "--think", [flags] { flags->thinking = true; }, "With thinking, whatever the lines say");
  verb->add_flag_callback(
          "--no-think", [flags] { flags->thinking = false; }, "Without thinking")
      ->excludes(verb->get_option("--think"));
  verb->add_flag("--wrong", flags->wrong, "Show every wrong answer beside the expected one");
  verb->add_flag("--json", flags->json, "One JSON object; of several models, one with a list of them");
  verb->add_option("--svg", flags->svg, "Write quality against size as a picture");
  verb->callback([flags] { run_eval(*flags); });
}

}  // namespace inkstone
