// What `inkstone eval` found, for people, for programs and as a picture. Pure functions but for print_report.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/evaluation.h"
#include "engine/perplexity.h"

namespace inkstone {

struct EvalReport {
  std::string model;  // as it was named
  double bytes = 0;   // of its weights
  double seconds = 0;
  std::optional<PassagesScore> texts;
  std::map<std::string, Score> scores;  // by category, "" of all; empty where nothing was asked
  Json wrong;                           // an array where it was asked for, else null
};

Json report_json(const EvalReport& report);

// One model: a line for each category and figure. Several: a row for each.
void print_reports(const std::vector<EvalReport>& reports);

// Quality against size: KL from the reference where there is one, else perplexity, else the share of right answers.
std::string quality_svg(const std::vector<EvalReport>& reports);

}  // namespace inkstone
