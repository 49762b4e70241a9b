#include "cli/conversion_progress.h"

#include <algorithm>
#include <cstdio>

#include "base/error.h"

namespace inkstone {
namespace {

// Of the start of the work that is not counted yet: the first rates mean nothing.
constexpr double kWarmUp = 0.5;
constexpr double kInterval = 0.2;

double seconds(std::chrono::steady_clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

Conversion::Progress ConversionProgress::callback() {
  return [this](uint64_t done, uint64_t total) {
    if (InterruptGuard::interrupted()) fail(Errc::interrupted, "interrupted: nothing was written");
    show(done, total);
  };
}

void ConversionProgress::show(uint64_t done, uint64_t total) {
  const Clock::time_point now = Clock::now();
  const double elapsed = seconds(now - start_);
  if (elapsed < kWarmUp || seconds(now - shown_) < kInterval || total == 0) return;
  shown_ = now;
  const double rate = static_cast<double>(done) / elapsed;
  const double left = std::max(0.0, static_cast<double>(total) - static_cast<double>(done)) / rate;
  line_.show(fmt::format("{:.0f} % of {}, {}/s, {:.0f} s left",
                         std::min(100.0, 100.0 * static_cast<double>(done) / static_cast<double>(total)),
                         human_bytes(static_cast<double>(total)), human_bytes(rate), left));
}

void ConversionProgress::finish(const Conversion::Written& written) {
  line_.clear();
  if (written.cleared) std::fprintf(stderr, "What an earlier run that was killed had left is removed.\n");
}

}  // namespace inkstone
