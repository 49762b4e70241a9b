// Residency: what a model larger than memory keeps there, and what it reads from its file as it is needed.
// Weights are mapped, so nothing depends on it but time: the system would run any model, but it drops what was used
// least recently, and a forward pass uses its layers in a circle, so it would drop each just before its next use.
//
// - Layers: as many as fit stay, spread evenly; the others stream: two of them are read ahead while one computes, and
//   one is dropped when the next begins. The last step (the head) counts as a layer and stays first.
// - Experts: routing chooses them, so those used last stay; a chosen one that is not there is read as a whole at once,
//   all of a layer together.
//
// Owned by a model, used by the thread that runs it. The checkpoint must outlive it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "device/device.h"
#include "format/checkpoint.h"

namespace inkstone {

// Which of the steps of a forward pass (bytes each, in order, one after the other for ever) stay in `memory` bytes; the
// last one first, the others spread evenly. Beside them, three consecutive ones of the rest must fit. nullopt: even
// those three alone do not.
std::optional<std::vector<bool>> plan_steps(std::span<const uint64_t> bytes, uint64_t memory);

// Numbers 0 to count - 1 in the order of their last use, within a budget of bytes.
class RecentlyUsed {
 public:
  RecentlyUsed(size_t count, uint64_t budget) : budget_(budget), entries_(count) {}
  RecentlyUsed(RecentlyUsed&&) = default;
  RecentlyUsed& operator=(RecentlyUsed&&) = default;

  // Marks it as used now. True if it was there already.
  bool use(size_t number, uint64_t bytes);
  // Takes out the one that was used longest ago while more than the budget is there, but none used since begin_round().
  std::optional<size_t> take_excess();
  void begin_round() { ++round_; }

 private:
  struct Entry {
    bool present = false;
    uint64_t bytes = 0, round = 0;
    std::list<size_t>::iterator place;
  };
  uint64_t budget_, present_bytes_ = 0, round_ = 0;
  std::vector<Entry> entries_;
  std::list<size_t> order_;  // the latest first
};

class Residency {
 public:
  // Weights that are used together, as ranges of mapped files.
  struct Piece {
    std::vector<std::span<const std::byte>> parts;
    uint64_t bytes = 0;

    // A weight that its device copied is not in the file any more.
    void add(const Linear& linear) {
      if (linear.owned.size() == 0) add(linear.weight);
    }
    void add(const WeightView& weight);
  };
  struct Weights {
    std::vector<Piece> steps;                 // in the order of use: the layers without their experts, then the head
    std::vector<std::vector<Piece>> experts;  // [layer][expert]; empty where a layer has none
    Piece rows;                               // only single rows are read: the embedding
  };

  // Everything is in memory: nothing to do.
  Residency() = default;
  // Keeps to `memory` bytes of weights. nullopt: what a forward pass needs at a time does not fit.
  static std::optional<Residency> plan(const Checkpoint& checkpoint, Weights weights, uint64_t memory);

  bool streams() const { return checkpoint_ != nullptr; }
  // Bytes of the weights that stay, experts not counted, and of all that are read from the file as needed.
  uint64_t kept_bytes() const { return kept_bytes_; }
  uint64_t streamed_bytes() const { return streamed_bytes_; }

  // The forward pass begins step i.
  void enter(int i) {
    if (streams()) move_to(static_cast<size_t>(i));
  }
  // Layer i will use these experts.
  void use_experts(int i, const Routing& routing) {
    if (streams()) fetch_experts(static_cast<size_t>(i), routing);
  }

 private:
  void move_to(size_t step);
  void fetch(size_t step);
  size_t next_streamed(size_t step) const;
  void fetch_experts(size_t layer, const Routing& routing);
  void prefetch(const Piece& piece) const;
  void drop(const Piece& piece) const;

  const Checkpoint* checkpoint_ = nullptr;  // none: everything is in memory
  Weights weights_;
  std::vector<bool> stays_, asked_for_;  // by step
  size_t step_ = 0;
  size_t experts_per_layer_ = 0;
  std::optional<RecentlyUsed> experts_;  // by layer * experts_per_layer_ + expert
  uint64_t kept_bytes_ = 0, streamed_bytes_ = 0;
};

}  // namespace inkstone
