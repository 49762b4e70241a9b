// metrics.jsonl and the picture of it.
#include "train/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "tests/format/temporary_folder.h"
#include "train/loss_curve.h"

namespace inkstone {
namespace {

TEST(Metrics, LinesAreThereAtOnceAndAreAppended) {
  const TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  {
    MetricsFile file(path);
    file.append(ValidationMetrics{0, 3.5, 0.25});
    EXPECT_EQ(folder.read("metrics.jsonl"), "{\"iteration\": 0, \"val_loss\": 3.5, \"val_time\": 0.25}\n");
    file.append(TrainMetrics{10, 2.5, 1e-5, 2, 100, 4096, 0.5});
  }
  MetricsFile(path).append(TrainMetrics{20, NAN, 1e-5, 2, 100, 8192, 0.5});
  EXPECT_EQ(folder.read("metrics.jsonl"),
            "{\"iteration\": 0, \"val_loss\": 3.5, \"val_time\": 0.25}\n"
            "{\"iteration\": 10, \"train_loss\": 2.5, \"learning_rate\": 1e-05, \"iterations_per_second\": 2.0, "
            "\"tokens_per_second\": 100.0, \"trained_tokens\": 4096, \"peak_memory\": 0.5}\n"
            "{\"iteration\": 20, \"train_loss\": null, \"learning_rate\": 1e-05, \"iterations_per_second\": 2.0, "
            "\"tokens_per_second\": 100.0, \"trained_tokens\": 8192, \"peak_memory\": 0.5}\n");
  const LossHistory history = load_metrics(path);
  ASSERT_EQ(history.train.size(), 1u);
  EXPECT_EQ(history.train[0].iteration, 10);
  EXPECT_EQ(history.train[0].loss, 2.5);
  ASSERT_EQ(history.validation.size(), 1u);
  EXPECT_EQ(history.validation[0].loss, 3.5);
}

TEST(Metrics, BadFilesAndFoldersAreErrors) {
  const TemporaryFolder folder;
  EXPECT_EQ(error_of([&] { load_metrics(folder / "none"); }).first, Errc::not_found);
  folder.write("m", "{\"iteration\": 1}\nnonsense\n");
  const auto [code, message] = error_of([&] { load_metrics(folder / "m"); });
  EXPECT_EQ(code, Errc::bad_file);
  EXPECT_NE(message.find("line 2"), std::string::npos) << message;
  folder.write("m", "7\n[]\n{\"iteration\": 1.5, \"val_loss\": 2}\n\n{\"iteration\": 1, \"val_loss\": 2}\n{\"iter");
  EXPECT_EQ(load_metrics(folder / "m").validation.size(), 1u);
  EXPECT_EQ(error_of([&] { MetricsFile file(folder / "none/m"); }).first, Errc::io);
  if (!std::filesystem::exists("/dev/full")) return;
  EXPECT_EQ(error_of([&] { MetricsFile("/dev/full").append(ValidationMetrics{}); }).first, Errc::io);
}

// Whether every tag is closed, in order: no more is asked of our own few.
bool is_well_formed(const std::string& xml) {
  std::vector<std::string> open;
  for (size_t at = xml.find('<'); at != std::string::npos; at = xml.find('<', at + 1)) {
    const size_t end = xml.find('>', at);
    if (end == std::string::npos) return false;
    const std::string tag = xml.substr(at + 1, end - at - 1);
    if (tag.ends_with('/')) continue;
    if (tag.starts_with('/')) {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
  }
  return open.empty();
}

TEST(LossCurve, AxesHaveRoundNumbers) {
  LossHistory history;
  for (int i = 1; i <= 100; ++i) history.train.push_back({10 * i, 2 + 1.7 / i});
  history.validation = {{0, 3.9}, {500, 2.4}, {1000, 2.3}};
  const std::string svg = loss_curve_svg(history, "a < b & \"c\"");
  EXPECT_TRUE(is_well_formed(svg)) << svg;
  for (const char* part :
       {">0</text>", ">200</text>", ">1000</text>", ">2.0</text>", ">4.0</text>", ">2.5</text>",
        "a &lt; b &amp; &quot;c&quot;", ">train</text>", ">validation</text>", "prefers-color-scheme: dark"})
    EXPECT_NE(svg.find(part), std::string::npos) << part;
  EXPECT_EQ(svg.find("script"), std::string::npos);
  if (const char* keep = std::getenv("INKSTONE_KEEP_SVG")) write_file_atomically(keep, svg);
}

TEST(LossCurve, FewManyAndOddPoints) {
  EXPECT_NE(loss_curve_svg({}, "").find("nothing to show yet"), std::string::npos);
  EXPECT_NE(loss_curve_svg({{{1, NAN}, {2, INFINITY}, {3, 1e300}}, {}}, "").find("nothing to show yet"),
            std::string::npos);
  const std::string one = loss_curve_svg({{{5, 2.0}}, {}}, "one");
  EXPECT_TRUE(is_well_formed(one));
  EXPECT_NE(one.find("<circle"), std::string::npos);
  EXPECT_EQ(one.find("nan"), std::string::npos);
  for (const double size : {1e-12, 1e-5, 0.0, 1e5, 1e29}) {
    const std::string svg = loss_curve_svg({{{0, 0}, {1, size}}, {{0, -size}}}, "sizes");
    EXPECT_TRUE(is_well_formed(svg));
    EXPECT_EQ(svg.find("nan"), std::string::npos) << size;
    EXPECT_LT(svg.size(), 20000u) << size;
  }
  LossHistory long_history;
  for (int i = 0; i < 200000; ++i) long_history.train.push_back({i, 1.0 / (i + 1)});
  EXPECT_LT(loss_curve_svg(long_history, "long").size(), 30000u);
  EXPECT_TRUE(is_well_formed(loss_curve_svg({{{INT64_MIN, 1}, {INT64_MAX, 2}}, {}}, "far")));
}

}  // namespace
}  // namespace inkstone
