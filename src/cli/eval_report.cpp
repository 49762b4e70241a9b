#include "cli/eval_report.h"

#include <cstdio>

#include "base/plot.h"
#include "cli/terminal.h"
#include "text/unicode.h"

namespace inkstone {
namespace {

Json score_json(const Score& score) {
  Json json;
  json["right"] = score.right;
  json["asked"] = score.asked;
  json["share"] = score.share();
  json["tokens"] = score.tokens;
  return json;
}

Json texts_json(const PassagesScore& texts) {
  Json json;
  json["tokens"] = texts.model.tokens;
  json["nats_per_token"] = texts.model.mean();
  json["perplexity"] = texts.model.perplexity();
  if (texts.reference) json["reference_perplexity"] = texts.reference->perplexity();
  if (texts.divergence) {
    json["kl_mean"] = texts.divergence->mean;
    json["kl_p99"] = texts.divergence->p99;
    json["kl_max"] = texts.divergence->most;
    json["same_top"] = texts.divergence->same_top;
  }
  return json;
}

void print_one(const EvalReport& report) {
  const auto row = [](const std::string& name, const Score& score) {
    std::printf("%-24s %6lld of %6lld  %5.1f %%\n", name.c_str(), static_cast<long long>(score.right),
                static_cast<long long>(score.asked), 100 * score.share());
  };
  for (const auto& [name, score] : report.scores)
    if (!name.empty()) row(name, score);
  if (const auto all = report.scores.find(""); all != report.scores.end()) row("all", all->second);
  if (!report.texts) return;
  const PassagesScore& texts = *report.texts;
  std::printf("%-24s %.4f (%.4f nats a token, %lld tokens)\n", "perplexity", texts.model.perplexity(),
              texts.model.mean(), static_cast<long long>(texts.model.tokens));
  if (texts.reference) std::printf("%-24s %.4f\n", "reference's perplexity", texts.reference->perplexity());
  if (texts.divergence)
    std::printf("%-24s mean %.6f, 99 %% below %.6f, at most %.6f nats\n%-24s %.2f %%\n", "KL from the reference",
                texts.divergence->mean, texts.divergence->p99, texts.divergence->most, "same most probable token",
                100 * texts.divergence->same_top);
}

// The end of a long name, from the beginning of a character on.
std::string shortened(const std::string& name, size_t most) {
  const std::string text = to_valid_utf8(name);
  if (text.size() <= most) return text;
  size_t at = text.size() - (most - 3);
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  return "..." + text.substr(at);
}

void print_table(const std::vector<EvalReport>& reports) {
  const EvalReport& first = reports.front();
  std::printf("%-32s %9s", "model", "weights");
  if (first.texts) std::printf(" %11s", "perplexity");
  if (first.texts && first.texts->divergence) std::printf(" %10s %10s %9s", "KL mean", "KL 99 %", "same top");
  if (!first.scores.empty()) std::printf(" %15s %8s", "right", "share");
  std::printf("\n");
  for (const EvalReport& report : reports) {
    std::printf("%-32s %9s", shortened(report.model, 32).c_str(), human_bytes(report.bytes).c_str());
    if (report.texts) std::printf(" %11.4f", report.texts->model.perplexity());
    if (report.texts && report.texts->divergence)
      std::printf(" %10.6f %10.6f %7.2f %%", report.texts->divergence->mean, report.texts->divergence->p99,
                  100 * report.texts->divergence->same_top);
    if (!report.scores.empty()) {
      const Score& all = report.scores.at("");
      std::printf(" %6lld of %5lld %6.1f %%", static_cast<long long>(all.right), static_cast<long long>(all.asked),
                  100 * all.share());
    }
    std::printf("\n");
  }
}

}  // namespace

Json report_json(const EvalReport& report) {
  Json json = report.scores.empty() ? Json(Json::Object()) : score_json(report.scores.at(""));
  json["model"] = report.model;
  json["weight_bytes"] = report.bytes;
  json["seconds"] = report.seconds;
  if (report.texts) json["texts"] = texts_json(*report.texts);
  if (!report.scores.empty()) {
    json["categories"] = Json::Object();
    for (const auto& [name, score] : report.scores)
      if (!name.empty()) json["categories"][name] = score_json(score);
  }
  if (!report.wrong.is_null()) json["wrong"] = report.wrong;
  return json;
}

void print_reports(const std::vector<EvalReport>& reports) {
  reports.size() == 1 ? print_one(reports.front()) : print_table(reports);
}

std::string quality_svg(const std::vector<EvalReport>& reports) {
  const EvalReport& first = reports.front();
  const bool divergence = first.texts && first.texts->divergence;
  PlotSeries series{.name = "", .points = {}, .line = false, .dots = true};
  for (const EvalReport& report : reports) {
    const double y = divergence     ? report.texts->divergence->mean
                     : report.texts ? report.texts->model.perplexity()
                                    : 100 * report.scores.at("").share();
    series.points.push_back({report.bytes / 1e6, y, shortened(report.model, 32)});
  }
  return plot_svg({.title = "Quality against size",
                   .x_label = "weights, MB",
                   .y_label = divergence    ? "KL from the reference, nats a token"
                              : first.texts ? "perplexity"
                                            : "right answers, %",
                   .series = {std::move(series)}});
}

}  // namespace inkstone
