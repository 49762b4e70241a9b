// Budget: what one rendering may cost. A template comes from outside and may loop for ever, double a string in every
// round or nest without end; each such thing is paid for here, and whoever cannot pay fails.
// The budget of the rendering in progress is known per thread, so that values can charge what they hold without
// carrying a pointer through every function. While a template is parsed there is none, and nothing is charged.
#pragma once

#include <cstddef>
#include <cstdint>

namespace inkstone::jinja {

struct Limits {
  int64_t steps = 30'000'000;           // evaluated nodes, and bytes touched / 32: about a second
  int64_t memory = int64_t{512} << 20;  // bytes of live values
  size_t text = size_t{64} << 20;       // bytes of one string and of the output
  size_t items = 1'000'000;             // of one list
  int calls = 100;                      // nested macro calls
};

constexpr int64_t kMaxRange = 100'000;  // as the reference's sandbox has it
constexpr int kMaxNesting = 400;        // of values: lists in lists

class Budget {
 public:
  explicit Budget(const Limits& limits);
  ~Budget();
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  static Budget* current();
  const Limits& limits() const { return limits_; }

  void step(int64_t count) {
    if ((steps_ += count) > limits_.steps) out_of_steps();
  }
  void hold(int64_t bytes) {
    if ((memory_ += bytes) > limits_.memory) {
      memory_ -= bytes;
      out_of_memory();
    }
  }
  void release(int64_t bytes) { memory_ -= bytes; }

 private:
  [[noreturn]] void out_of_steps() const;
  [[noreturn]] void out_of_memory() const;

  Limits limits_;
  Budget* outer_;
  int64_t steps_ = 0;
  int64_t memory_ = 0;
};

// Charges for touching `bytes` bytes, or that many cheap items.
void charge(size_t bytes);
// Fails if a string of `bytes` bytes would be too long.
void check_text_size(size_t bytes);

// The memory that a value holds, given back with the value.
class Held {
 public:
  explicit Held(size_t bytes);
  ~Held();
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

 private:
  Budget* budget_;
  int64_t bytes_;
};

}  // namespace inkstone::jinja
