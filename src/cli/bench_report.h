// What `bench` says: one JSON object, or a table for people.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/system.h"
#include "cli/bench_model.h"

namespace inkstone {

struct BenchReport {
  BenchModel bench;
  bool f32 = false;  // --precision f32
  Ceilings ceilings;
  double first_token_seconds = 0;
  ResidentMemory memory;
  std::vector<BenchmarkResult> results;
};

// Throughput of a result, and how near it comes to what the machine could do.
struct BenchFigures {
  double seconds = 0;  // of the published model: as measured, or scaled to all of its layers
  double tokens_per_s = 0;
  double gbps = 0, tflops = 0;
  double fraction = 0;  // of the speed at which the ceiling alone would bind
  std::string ceiling;  // "read", or the arithmetic unit
};

// The floor of a cost is the longer of reading its bytes and computing its operations on the best usable unit. Where
// only some layers were measured, all of them would take as many times longer as their floor is higher.
BenchFigures figures_of(const BenchmarkResult& result, const Ceilings& ceilings);

Json report_json(const BenchReport& report);
void print_report(const BenchReport& report);

}  // namespace inkstone
