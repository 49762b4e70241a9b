// The flags that several verbs share: which model, how it runs, how it answers.
#pragma once

#include <optional>
#include <string>

#include "engine/completion.h"
#include "engine/language_model.h"

namespace CLI {
class App;
}

namespace inkstone {

// How K and V are kept.
struct KvFlags {
  int bits = 0;         // --kv-bits; 0: as the precision says
  int group_size = 64;  // --kv-group-size

  void add_to(CLI::App& verb);
};

// The model that `flag` names: a folder or a GGUF file as it is, else that of a hub's cache, fetched where `may_pull`.
std::filesystem::path model_path(const char* flag, const std::string& model, bool may_pull = true);

struct ModelFlags {
  std::string model;     // --model: a folder, or the name of a model on a hub
  bool may_pull = true;  // a named model that is not there is fetched, where somebody at a terminal sees it
  std::string adapter;   // --adapter
  int ctx_size = 0;      // --ctx-size; 0: the model's maximum
  int threads = 0;       // --threads; 0: all
  bool f32 = false;      // --precision f32
  std::string isa;       // --isa
  KvFlags kv;

  void add_to(CLI::App& verb);
  // Of these, --model, --adapter, --threads, --precision and --isa.
  void add_without_context_to(CLI::App& verb);
  // What --model names; where it names none, the model that the adapter was trained on, else the embedded one, with a
  // word about it on stderr.
  std::filesystem::path folder() const;
  LoadOptions load_options() const;
  // The model's context size for --ctx-size; a word on stderr when its weights are larger than memory.
  int context_size(const LanguageModel& opened) const;
};

struct AnswerFlags {
  SamplingOverrides sampling;
  std::optional<int> max_tokens;
  std::optional<int> thinking_budget;
  std::optional<bool> thinking;  // --think, --no-think
  std::string system;

  void add_to(CLI::App& verb);
  CompletionOptions completion_options() const;
};

// A file's or standard input's text, at most 256 MB.
std::string read_standard_input();

}  // namespace inkstone
