#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/json.h"
#include "base/system.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "device/device.h"

namespace inkstone {
namespace {

void run_doctor(bool as_json) {
  const MemoryInfo memory = memory_info();
  Json json;
  json["version"] = INKSTONE_VERSION;
  json["cpu"] = cpu_model_name();
  json["cpu_features"] = cpu_features();
  json["cpus"] = available_cpus();
  json["device"] = open_device({})->description();
  json["l1d_bytes"] = static_cast<int64_t>(cache_bytes(1));
  json["l2_bytes"] = static_cast<int64_t>(cache_bytes(2));
  json["l3_bytes"] = static_cast<int64_t>(cache_bytes(3));
  json["memory_bytes"] = static_cast<int64_t>(memory.total);
  json["memory_available_bytes"] = static_cast<int64_t>(memory.available);
  if (as_json) {
    std::printf("%s\n", json.dump(2).c_str());
    return;
  }
  for (const auto& [key, value] : json.as_object()) {
    const std::string text = value.is_string()         ? value.as_string()
                             : key.ends_with("_bytes") ? human_bytes(value.as_double())
                                                       : value.dump();
    std::printf("%-23s %s\n", key.c_str(), text.c_str());
  }
}

}  // namespace

void add_doctor(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* verb = app.add_subcommand("doctor", "What this machine offers and what inkstone uses of it");
  verb->add_flag("--json", *json, "One JSON object");
  verb->callback([json] { run_doctor(*json); });
}

}  // namespace inkstone
