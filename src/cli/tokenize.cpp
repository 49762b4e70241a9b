#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace inkstone {
namespace {

struct TokenizeFlags {
  std::string model;
  std::string prompt = "-";
  bool special = false;
  bool json = false;
};

void run_tokenize(const TokenizeFlags& flags) {
  ModelFlags model;
  model.model = flags.model;
  const Tokenizer tokenizer = load_tokenizer(model.folder());
  const std::string text = flags.prompt == "-" ? read_standard_input() : flags.prompt;
  const std::vector<int32_t> ids = flags.special ? tokenizer.encode(text) : tokenizer.encode_plain(text);
  if (flags.json) {
    Json list = Json::Array();
    for (const int32_t id : ids) list.push_back(id);
    std::printf("%s\n", list.dump().c_str());
    return;
  }
  for (const int32_t id : ids) std::printf("%8d  %s\n", id, json_quote(tokenizer.decode({&id, 1})).c_str());
  std::fprintf(stderr, "%s\n", dim(fmt::format("{} tokens", ids.size())).c_str());
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* verb = app.add_subcommand("tokenize", "The tokens of a text");
  verb->add_option("-m,--model", flags->model, "Folder or name of the model");
  verb->add_option("-p,--prompt", flags->prompt, "The text; - reads it from standard input (default)");
  verb->add_flag("--special", flags->special, "Read special tokens such as <|im_end|> as what they are, not as text");
  verb->add_flag("--json", flags->json, "The ids as a JSON array");
  verb->callback([flags] { run_tokenize(*flags); });
}

}  // namespace inkstone
