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

Json report_json(const BenchReport& report);
void print_report(const BenchReport& report);

}  // namespace inkstone
