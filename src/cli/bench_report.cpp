#include "cli/bench_report.h"

#include <cstdio>
#include <ctime>

#include "cli/terminal.h"
#include "format/quantization.h"
#include "format/shapes.h"

namespace inkstone {
namespace {

bool is_integer(const UnitPeak& unit) { return unit.name.find("_int") != std::string::npos; }

// "amx_bf16_tflops", "vnni_int8_tops"
std::string unit_key(const UnitPeak& unit) { return unit.name + (is_integer(unit) ? "_tops" : "_tflops"); }

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm date{};
  char text[16];
  return std::strftime(text, sizeof text, "%F", ::localtime_r(&now, &date)) > 0 ? text : "";
}

Json machine_json(const BenchReport& report) {
  const Ceilings& ceilings = report.ceilings;
  Json json;
  json["cpu"] = cpu_model_name();
  json["threads"] = ceilings.threads;
  json["isa"] = ceilings.isa;
  json["read_gbps"] = ceilings.read_gbps;
  for (const UnitPeak& unit : ceilings.units) json[unit_key(unit)] = unit.tera;
  return json;
}

Json model_json(const BenchReport& report) {
  const BenchModel& bench = report.bench;
  const ModelConfig& config = bench.model->config();
  Json json;
  json["shape"] = bench.name;
  json["quantization"] = quantization_text(config.quantization.value_or(Quantization{}));
  json["params"] = parameter_count(bench.whole);
  json["bytes"] = static_cast<int64_t>(bench.model->checkpoint().bytes());
  json["layers"] = config.num_hidden_layers;
  json["published_layers"] = bench.whole.num_hidden_layers;
  json["scaled"] = bench.is_part();
  return json;
}

Json result_json(const BenchmarkResult& result, const BenchmarkFigures& figures, bool scaled) {
  Json json;
  json["kind"] = result.prefill ? "prefill" : "decode";
  json["tokens"] = result.tokens;
  json["depth"] = result.depth;
  json["batch"] = result.batch;
  json["tokens_per_s"] = figures.tokens_per_s;
  json["gbps"] = figures.gbps;
  json["tflops"] = figures.tflops;
  json["fraction"] = figures.fraction;
  json["ceiling"] = figures.ceiling;
  json["repeats"] = result.repeats;
  json["seconds"] = figures.seconds;
  if (scaled) json["measured_seconds"] = result.seconds;
  return json;
}

}  // namespace

Json report_json(const BenchReport& report) {
  Json json;
  json["machine"] = machine_json(report);
  json["precision"] = report.f32 ? "f32" : "fast";
  json["model"] = model_json(report);
  json["load_seconds"] = report.bench.load_seconds;
  json["first_token_seconds"] = report.first_token_seconds;
  json["memory"]["anonymous"] = static_cast<int64_t>(report.memory.anonymous);
  json["memory"]["total"] = static_cast<int64_t>(report.memory.total);
  Json::Array results;
  for (const BenchmarkResult& result : report.results)
    results.push_back(result_json(result, figures_of(result, report.ceilings), report.bench.is_part()));
  json["results"] = std::move(results);
  return json;
}

void print_report(const BenchReport& report) {
  const Ceilings& ceilings = report.ceilings;
  const BenchModel& bench = report.bench;
  const ModelConfig& config = bench.model->config();
  std::string units;
  for (const UnitPeak& unit : ceilings.units)
    units += fmt::format(", {} {:.3g} {}", unit.name, unit.tera, is_integer(unit) ? "TOP/s" : "TFLOP/s");
  fmt::print("{}, {}, {} thread{}, precision {}, {}\n", cpu_model_name(), ceilings.isa, ceilings.threads,
             ceilings.threads == 1 ? "" : "s", report.f32 ? "f32" : "fast", today());
  fmt::print("ceilings: read {:.1f} GB/s{}\n", ceilings.read_gbps, units);
  fmt::print("{}: quantisation {}, {:.3g} billion weights, {} in {} layers\n",
             printable(bench.name, stdout_is_terminal()),
             quantization_text(config.quantization.value_or(Quantization{})),
             static_cast<double>(parameter_count(bench.whole)) * 1e-9,
             human_bytes(static_cast<double>(bench.model->checkpoint().bytes())), config.num_hidden_layers);
  if (bench.is_part())
    fmt::print("tokens/s are scaled from {} to all {} layers, at the same fraction of the ceiling\n",
               config.num_hidden_layers, bench.whole.num_hidden_layers);
  fmt::print("open {:.3f} s, first token of a prompt of 16 {:.3f} s, memory {} and {} of files\n\n", bench.load_seconds,
             report.first_token_seconds, human_bytes(static_cast<double>(report.memory.anonymous)),
             human_bytes(static_cast<double>(report.memory.total - report.memory.anonymous)));
  fmt::print("{:8} {:>7} {:>7} {:>6} {:>10} {:>8} {:>9}  {}\n", "", "tokens", "depth", "batch", "tokens/s", "GB/s",
             "TFLOP/s", "of the ceiling");
  for (const BenchmarkResult& result : report.results) {
    const BenchmarkFigures figures = figures_of(result, ceilings);
    fmt::print("{:8} {:7} {:7} {:6} {:10.1f} {:8.2f} {:9.3f}  {:.0f} % {}\n", result.prefill ? "prompt" : "decode",
               result.tokens, result.depth, result.batch, figures.tokens_per_s, figures.gbps, figures.tflops,
               100 * figures.fraction, figures.ceiling);
  }
}

}  // namespace inkstone
