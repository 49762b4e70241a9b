#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>

#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "engine/evaluation.h"

namespace inkstone {
namespace {

struct EvalFlags {
  ModelFlags model;
  std::vector<std::string> data;
  std::optional<int> max_tokens;
  std::optional<bool> thinking;
  int limit = 0;
  bool wrong = false;
  bool json = false;
};

Json score_report(const Score& score) {
  Json json;
  json["right"] = score.right;
  json["asked"] = score.asked;
  json["share"] = score.share();
  json["tokens"] = score.tokens;
  return json;
}

void print_row(const std::string& name, const Score& score) {
  std::printf("%-24s %6lld of %6lld  %5.1f %%\n", name.c_str(), static_cast<long long>(score.right),
              static_cast<long long>(score.asked), 100 * score.share());
}

void run_eval(const EvalFlags& flags) {
  std::vector<Question> questions;
  for (const std::string& file : flags.data)
    for (Question& question : load_questions(file)) questions.push_back(std::move(question));
  if (flags.limit > 0 && questions.size() > static_cast<size_t>(flags.limit))
    questions.resize(static_cast<size_t>(flags.limit));
  LanguageModel model(flags.model.folder(), flags.model.load_options());
  Generator generator(model.model(), flags.model.context_size(model));
  const InterruptGuard guard;
  CompletionOptions options;
  options.max_tokens = flags.max_tokens;
  options.thinking = flags.thinking;
  options.cancelled = [] { return InterruptGuard::interrupted(); };
  Json wrong = Json::Array();
  const auto start = std::chrono::steady_clock::now();
  const auto scores = evaluate(model, generator, questions, options, [&](const Answered& answered) {
    if (answered.right || !flags.wrong) return;
    if (!flags.json) {
      std::printf("%s\n  expected  %s\n  found     %s\n", answered.question->where.c_str(),
                  one_line(answered.question->expected).c_str(), one_line(answered.found).c_str());
      return;
    }
    Json entry;
    entry["question"] = answered.question->where;
    entry["expected"] = answered.question->expected;
    entry["found"] = answered.found;
    wrong.push_back(std::move(entry));
  });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (flags.json) {
    Json report = score_report(scores.at(""));
    report["model"] = model.folder().string();
    report["seconds"] = seconds;
    report["categories"] = Json::Object();
    for (const auto& [name, score] : scores)
      if (!name.empty()) report["categories"][name] = score_report(score);
    if (flags.wrong) report["wrong"] = std::move(wrong);
    std::printf("%s\n", report.dump(2).c_str());
    return;
  }
  for (const auto& [name, score] : scores)
    if (!name.empty()) print_row(name, score);
  print_row("all", scores.at(""));
}

}  // namespace

void add_eval(CLI::App& app) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* verb = app.add_subcommand("eval", "Count exact answers to the questions of a file");
  flags->model.add_to(*verb);
  verb->add_option("--data", flags->data, "Files of chats, one a line, whose last message is the expected answer")
      ->required();
  verb->add_option("-n,--max-tokens", flags->max_tokens, "Most tokens of an answer, thinking included")
      ->check(CLI::Range(1, 1 << 24));
  verb->add_option("--limit", flags->limit, "Ask only so many of the questions")->check(CLI::Range(1, 1'000'000'000));
  verb->add_flag_callback(
      "--think", [flags] { flags->thinking = true; }, "With thinking, whatever the lines say");
  verb->add_flag_callback(
          "--no-think", [flags] { flags->thinking = false; }, "Without thinking")
      ->excludes(verb->get_option("--think"));
  verb->add_flag("--wrong", flags->wrong, "Show every wrong answer beside the expected one");
  verb->add_flag("--json", flags->json, "One JSON object: right, asked, share, categories");
  verb->callback([flags] { run_eval(*flags); });
}

}  // namespace inkstone
