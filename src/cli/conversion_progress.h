// What convert and fuse share: how the work is shown and stopped.
#pragma once

#include <chrono>

#include "cli/terminal.h"
#include "format/conversion.h"

namespace inkstone {

// While it lives Ctrl-C ends the work, and a terminal shows how far it is, its rate and the time left.
class ConversionProgress {
 public:
  Conversion::Progress callback();
  // After the work: says that what a killed run had left is gone.
  void finish(const Conversion::Written& written);

 private:
  using Clock = std::chrono::steady_clock;

  void show(uint64_t done, uint64_t total);

  InterruptGuard guard_;
  ProgressLine line_;
  Clock::time_point start_ = Clock::now(), shown_ = start_;
};

}  // namespace inkstone
