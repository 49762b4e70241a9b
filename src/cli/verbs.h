// The verbs of the command line. Each add_ function registers one with its flags; parsing runs it.
#pragma once

namespace CLI {
class App;
}

namespace inkstone {

void add_bench(CLI::App& app);
void add_chat(CLI::App& app);
void add_convert(CLI::App& app);
void add_doctor(CLI::App& app);
void add_eval(CLI::App& app);
void add_fuse(CLI::App& app);
void add_generate(CLI::App& app);
void add_list(CLI::App& app);
void add_pull(CLI::App& app);
void add_rm(CLI::App& app);
void add_show(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_train(CLI::App& app);

}  // namespace inkstone
