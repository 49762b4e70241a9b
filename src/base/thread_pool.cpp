#include "base/thread_pool.h"

#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"

namespace inkstone {
namespace {

// About 20 microseconds of waiting before a thread sleeps: longer than the gaps inside a forward pass, shorter than
// anything a user or another process would notice.
constexpr int kSpins = 2000;

void spin_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

template <class Ready>
void wait_until(std::atomic<uint32_t>& word, Ready ready) {
  for (int i = 0; i < kSpins; ++i) {
    if (ready(word.load(std::memory_order_acquire))) return;
    spin_pause();
  }
  for (;;) {
    const uint32_t value = word.load(std::memory_order_acquire);
    if (ready(value)) return;
    word.wait(value, std::memory_order_acquire);  // a futex
  }
}

}  // namespace

struct ThreadPool::State {
  alignas(64) std::atomic<uint32_t> generation{0};  // grows by one a run
  alignas(64) std::atomic<uint32_t> running{0};     // workers that have not finished this run
  Function function = nullptr;
  void* context = nullptr;
  bool stop = false;
  std::vector<std::thread> workers;
};

ThreadPool::ThreadPool(int threads) : size_(threads), state_(std::make_unique<State>()) {
  CHECK(threads >= 1);
  const auto work = [state = state_.get()](int rank) {
    uint32_t seen = 0;
    for (;;) {
      wait_until(state->generation, [seen](uint32_t generation) { return generation != seen; });
      ++seen;
      if (state->stop) return;
      state->function(state->context, rank);
      if (state->running.fetch_sub(1, std::memory_order_acq_rel) == 1) state->running.notify_one();
    }
  };
  try {
    for (int rank = 1; rank < size_; ++rank) state_->workers.emplace_back(work, rank);
  } catch (const std::system_error& error) {
    const size_t started = state_->workers.size() + 1;
    stop();
    fail(Errc::out_of_memory, "threads: the system gave {} of {}: {}", started, threads, error.what());
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  state_->stop = true;
  state_->generation.fetch_add(1, std::memory_order_release);
  state_->generation.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

void ThreadPool::run_erased(Function function, void* context) {
  if (size_ == 1) return function(context, 0);
  state_->function = function;
  state_->context = context;
  state_->running.store(static_cast<uint32_t>(size_ - 1), std::memory_order_relaxed);
  state_->generation.fetch_add(1, std::memory_order_release);
  state_->generation.notify_all();
  function(context, 0);
  wait_until(state_->running, [](uint32_t running) { return running == 0; });
}

}  // namespace inkstone
