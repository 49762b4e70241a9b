// Context: what the parts of the CPU device share: kernels, threads and memory that is reused from step to step.
// One forward pass at a time, from one thread.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

#include "base/thread_pool.h"
#include "cpu/kernels.h"
#include "device/device.h"
#include "tensor/buffer.h"

namespace inkstone {

// Who uses a piece of scratch memory. Pieces live at the same time, so each purpose has its own.
enum class Scratch {
  inputs,             // prepared and packed activations of multiply()
  multiply,           // per thread: dequantised panel, results, scales
  tile_inputs,        // activations packed for the matrix unit
  tile_gates,         // the same of what an MLP has between its two products
  adapters,           // a x of every adapter
  increments,         // products that DoRA scales before they are added
  attend,             // per thread
  attend_parts,       // partial softmaxes
  gate,               // [rows, F] of an MLP, or of all experts' rows
  up,                 // [rows, F]
  experts_down,       // [pairs, D]
  embed,              // per thread: one row in the order of positions
  transposed_weight,  // gradients: W^T, some rows of W at a time
  transposed_x,
  transposed_dy,
  transposed_u,
  transposed_b,
  stripes,           // per thread: what is transposed, before it is rounded
  before_magnitude,  // DoRA: the gradient of the product that is scaled, and the scaled product
  attend_backward,   // per thread
  expert_rows,       // [pairs, D] of an expert's inputs, and gradients of its outputs and inputs
  expert_gates,      // [pairs, F]
  count_,
};

struct Context {
  Context(const Kernels& table, int threads, Precision wanted) : kernels(table), pool(threads), precision(wanted) {}

  const Kernels& kernels;
  ThreadPool pool;
  const Precision precision;

  // Set by weights in f16 or f32: they promise more than the 8 bits of bf16, so their model's activations keep more.
  bool beyond_bf16 = false;

  // The matrix unit, null where there is none or where bf16 operands are not wanted.
  const TileKernels* tiles() const { return precision == Precision::fast && !beyond_bf16 ? kernels.tiles : nullptr; }

  // At least `count` floats, 64-byte aligned, contents undefined. Grows; never from inside a run.
  float* floats(Scratch purpose, int64_t count) {
    Buffer& buffer = scratch_[static_cast<size_t>(purpose)];
    const size_t bytes = static_cast<size_t>(count) * sizeof(float);
    if (buffer.size() < bytes) buffer = Buffer::host(std::max(bytes, buffer.size() + buffer.size() / 2));
    return reinterpret_cast<float*>(buffer.data());
  }

  // The same in elements of 16 bits.
  uint16_t* elements16(Scratch purpose, int64_t count) {
    return reinterpret_cast<uint16_t*>(floats(purpose, (count + 1) / 2));
  }

  // What floats() gave last.
  float* floats_of(Scratch purpose) const {
    return reinterpret_cast<float*>(scratch_[static_cast<size_t>(purpose)].data());
  }

  // Calls fn(rank, i) for every i in [0, count), each once, handed out in order to whichever thread is free. With
  // `spread` false the caller does all: waking others costs a microsecond or two.
  template <class F>
  void for_each_task(int64_t count, bool spread, F&& fn) {
    if (!spread || count <= 1 || pool.size() == 1) {
      for (int64_t i = 0; i < count; ++i) fn(0, i);
      return;
    }
    std::atomic<int64_t> next{0};
    pool.run([&](int rank) {
      for (int64_t i = next.fetch_add(1, std::memory_order_relaxed); i < count;
           i = next.fetch_add(1, std::memory_order_relaxed))
        fn(rank, i);
    });
  }

 private:
  std::array<Buffer, static_cast<size_t>(Scratch::count_)> scratch_;
};

constexpr int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace inkstone
