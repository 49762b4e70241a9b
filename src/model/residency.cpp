#include "model/residency.h"

#include <algorithm>
#include <numeric>

namespace inkstone {
namespace {

constexpr size_t kAhead = 2;           // streamed steps that are read while one computes
constexpr uint64_t kPageBytes = 4096;  // what a part may leave behind at its ends

uint64_t total(std::span<const uint64_t> bytes) { return std::accumulate(bytes.begin(), bytes.end(), uint64_t{0}); }

// The most that three (one in use, kAhead on their way) consecutive ones of a circle hold.
uint64_t largest_window(std::span<const uint64_t> circle) {
  uint64_t largest = 0;
  for (size_t i = 0; i < circle.size(); ++i) {
    uint64_t sum = 0;
    for (size_t j = 0; j < std::min(kAhead + 1, circle.size()); ++j) sum += circle[(i + j) % circle.size()];
    largest = std::max(largest, sum);
  }
  return largest;
}

// `count` of `size` steps: the last, then the others spread evenly.
std::vector<bool> spread(size_t size, size_t count) {
  std::vector<bool> stays(size, false);
  if (count == 0) return stays;
  stays.back() = true;
  for (size_t i = 0; i + 1 < size; ++i) stays[i] = (i + 1) * (count - 1) / (size - 1) > i * (count - 1) / (size - 1);
  return stays;
}

}  // namespace

std::optional<std::vector<bool>> plan_steps(std::span<const uint64_t> bytes, uint64_t memory) {
  for (size_t count = bytes.size() + 1; count-- > 0;) {
    std::vector<bool> stays = spread(bytes.size(), count);
    uint64_t kept = 0;
    std::vector<uint64_t> streamed;
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (stays[i])
        kept += bytes[i];
      else
        streamed.push_back(bytes[i]);
    }
    if (kept + largest_window(streamed) <= memory) return stays;
  }
  return std::nullopt;
}

bool RecentlyUsed::use(size_t number, uint64_t bytes) {
  Entry& entry = entries_[number];
  const bool present = entry.present;
  entry.round = round_;
  if (present) {
    order_.splice(order_.begin(), order_, entry.place);
    return true;
  }
  order_.push_front(number);
  entry.present = true;
  entry.bytes = bytes;
  entry.place = order_.begin();
  present_bytes_ += bytes;
  return false;
}

std::optional<size_t> RecentlyUsed::take_excess() {
  if (present_bytes_ <= budget_ || order_.empty()) return std::nullopt;
  const size_t number = order_.back();
  Entry& entry = entries_[number];
  if (entry.round == round_) return std::nullopt;
  order_.pop_back();
  entry.present = false;
  present_bytes_ -= entry.bytes;
  return number;
}

void Residency::Piece::add(const WeightView& weight) {
  for (const ConstTensor* tensor : {&weight.weight, &weight.scales, &weight.biases}) {
    if (tensor->empty()) continue;
    parts.push_back({tensor->data, tensor->bytes()});
    bytes += tensor->bytes() + kPageBytes;
  }
  for (const WeightView& part : weight.parts) add(part);
}

std::optional<Residency> Residency::plan(const Checkpoint& checkpoint, Weights weights, uint64_t memory) {
  std::vector<uint64_t> steps;
  for (const Piece& step : weights.steps) steps.push_back(step.bytes);
  uint64_t experts = 0, experts_at_once = 0;
  for (const std::vector<Piece>& layer : weights.experts) {
    uint64_t bytes = 0;
    for (const Piece& expert : layer) bytes += expert.bytes;
    experts += bytes;
    experts_at_once = std::max(experts_at_once, bytes);
  }
  Residency residency;
  if (total(steps) + experts <= memory) return residency;
  residency.checkpoint_ = &checkpoint;
  if (experts > 0) {  // what every token needs stays; a prompt needs all experts of a layer
    if (total(steps) + experts_at_once > memory) return std::nullopt;
    residency.stays_.assign(steps.size(), true);
    for (const std::vector<Piece>& layer : weights.experts)
      residency.experts_per_layer_ = std::max(residency.experts_per_layer_, layer.size());
    residency.experts_.emplace(residency.experts_per_layer_ * weights.experts.size(), memory - total(steps));
  } else {
    const auto stays = plan_steps(steps, memory);
    if (!stays) return std::nullopt;
    residency.stays_ = *stays;
  }
  for (size_t i = 0; i < steps.size(); ++i) residency.kept_bytes_ += residency.stays_[i] ? steps[i] : 0;
  residency.streamed_bytes_ = total(steps) + experts - residency.kept_bytes_;
  residency.asked_for_.assign(steps.size(), false);
  for (const auto& part : weights.rows.parts) checkpoint.file_of(part).expect_rows(part);
  residency.weights_ = std::move(weights);
  return residency;
}

void Residency::move_to(size_t step) {
  if (step != step_ && !stays_[step_]) {
    drop(weights_.steps[step_]);
    asked_for_[step_] = false;
  }
  step_ = step;
  fetch(step);
  size_t ahead = step;
  for (size_t i = 0; i < kAhead; ++i) {
    ahead = next_streamed(ahead);
    fetch(ahead);
  }
  fetch((step + 1) % stays_.size());  // what stays is read in the first pass
}

void Residency::fetch(size_t step) {
  if (!asked_for_[step]) prefetch(weights_.steps[step]);
  asked_for_[step] = true;
}

// The first one behind `step` that streams, round the circle; `step` itself where nothing does.
size_t Residency::next_streamed(size_t step) const {
  for (size_t i = 1; i <= stays_.size(); ++i)
    if (const size_t next = (step + i) % stays_.size(); !stays_[next]) return next;
  return step;
}

void Residency::fetch_experts(size_t layer, const Routing& routing) {
  const std::vector<Piece>& experts = weights_.experts[layer];
  const int32_t* chosen = routing.experts.as<int32_t>();
  std::vector<const Piece*> missing;
  experts_->begin_round();
  for (int64_t i = 0; i < routing.experts.shape.elements(); ++i) {
    const size_t e = static_cast<size_t>(chosen[i]);
    CHECK(e < experts.size());
    if (!experts_->use(layer * experts_per_layer_ + e, experts[e].bytes)) missing.push_back(&experts[e]);
  }
  while (const std::optional<size_t> excess = experts_->take_excess())
    drop(weights_.experts[*excess / experts_per_layer_][*excess % experts_per_layer_]);
  for (const Piece* expert : missing) prefetch(*expert);
}

void Residency::prefetch(const Piece& piece) const {
  for (const auto& part : piece.parts) checkpoint_->file_of(part).prefetch(part);
}

void Residency::drop(const Piece& piece) const {
  for (const auto& part : piece.parts) checkpoint_->file_of(part).drop(part);
}

}  // namespace inkstone
