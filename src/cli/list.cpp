#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <memory>

#include "base/json.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "hub/aliases.h"
#include "hub/cache.h"

namespace inkstone {
namespace {

struct ListFlags {
  bool aliases = false;
  bool json = false;
};

std::string date(int64_t seconds) {
  const std::time_t time = seconds;
  std::tm local{};
  char text[32] = "";
  if (localtime_r(&time, &local) != nullptr) std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &local);
  return text;
}

void list_aliases(bool as_json) {
  Json json = Json(Json::Object());
  for (const Alias& alias : aliases()) {
    if (as_json)
      json[alias.name] = alias.model;
    else
      std::printf("%-34s %s\n", alias.name.c_str(), alias.model.c_str());
  }
  if (as_json) std::printf("%s\n", json.dump(2).c_str());
}

std::string revision_of(const CachedModel& model) {
  std::string text;
  for (const std::string& ref : model.refs) text += ref + " ";
  return text + model.commit.substr(0, 8);
}

Json describe(const CachedModel& model) {
  Json json;
  json["model"] = model.name.text();
  json["hub"] = hub_name(model.hub);
  json["commit"] = model.commit.empty() ? Json() : Json(model.commit);
  Json refs = Json(Json::Array());
  for (const std::string& ref : model.refs) refs.push_back(ref);
  json["refs"] = std::move(refs);
  json["bytes"] = static_cast<int64_t>(model.bytes);
  json["modified"] = model.modified;
  json["complete"] = model.complete;
  json["folder"] = model.folder.string();
  return json;
}

void run_list(const ListFlags& flags) {
  if (flags.aliases) return list_aliases(flags.json);
  std::vector<CachedModel> models;
  std::string caches;
  for (const Hub hub : {Hub::huggingface, Hub::modelscope}) {
    const HubSettings settings = hub_settings(hub);
    std::ranges::move(list_models(settings), std::back_inserter(models));
    caches += (caches.empty() ? "" : " and ") + settings.cache.string();
  }
  if (flags.json) {
    Json list = Json(Json::Array());
    for (const CachedModel& model : models) list.push_back(describe(model));
    Json json;
    json["models"] = std::move(list);
    std::printf("%s\n", json.dump(2).c_str());
    return;
  }
  if (models.empty()) std::fprintf(stderr, "no models in %s\n", one_line(caches).c_str());
  for (const CachedModel& model : models)
    std::printf("%-46s %10s  %s  %s%s\n", model.name.text().c_str(),
                human_bytes(static_cast<double>(model.bytes)).c_str(), date(model.modified).c_str(),
                printable(model.hub == Hub::modelscope ? "modelscope" : revision_of(model), true).c_str(),
                model.complete ? "" : "  not whole");
}

}  // namespace

void add_list(CLI::App& app) {
  auto flags = std::make_shared<ListFlags>();
  CLI::App* verb = app.add_subcommand("list", "The models in the caches of this machine");
  verb->add_flag("--aliases", flags->aliases, "The short names, and what they stand for");
  verb->add_flag("--json", flags->json, "One JSON object");
  verb->callback([flags] { run_list(*flags); });
}

}  // namespace inkstone
