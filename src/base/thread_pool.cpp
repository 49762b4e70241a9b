#include "base/thread_pool.h"

#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/system.h"

namespace inkstone {
namespace {

// How long a thread waits awake: longer than the gaps inside a forward pass, shorter than anything that a user or
// another process would notice. By the clock: one pause is 40 to 140 cycles, depending on the processor.
constexpr std::chrono::microseconds kSpin{50};
constexpr int kPausesAClock = 16;

void spin_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// True as soon as ready() is, false when that took longer than `limit`.
template <class Ready>
bool spin_until(std::chrono::microseconds limit, Ready ready) {
  if (ready()) return true;
  if (limit.count() == 0) return false;
  const auto end = std::chrono::steady_clock::now() + limit;
  do {
    for (int i = 0; i < kPausesAClock; ++i) {
      if (ready()) return true;
      spin_pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

// Runs are numbered. A run n begins when `run` becomes n; rank r of it belongs to whoever moves workers[r - 1].claimed
// from n - 1 to n, its worker or the caller, so a worker that comes late finds nothing to claim and touches nothing of
// a run that is over. Whoever sleeps says so before it looks a last time; whoever changes a word looks for sleepers
// after: both sequentially consistent, so one of the two sees the other, and nobody calls the system to wake nobody.
struct ThreadPool::State {
  struct alignas(64) Worker {
    std::atomic<uint32_t> claimed{0};  // the last run in which somebody took this rank
    std::atomic<uint32_t> done{0};     // the last run in which it was finished
    std::thread thread;
  };

  explicit State(int threads)
      : spin(threads <= available_cpus() ? kSpin : std::chrono::microseconds{0}),
        workers(static_cast<size_t>(threads - 1)) {}

  void work(int rank);
  void wait_for(Worker& worker, uint32_t now);

  alignas(64) std::atomic<uint32_t> run{0};
  alignas(64) std::atomic<int> sleeping_workers{0};
  std::atomic<bool> sleeping_caller{false};
  std::atomic<bool> busy{false};
  Function function = nullptr;
  void* context = nullptr;
  bool stop = false;
  // With more threads than processors a waiting thread has a processor that a working one needs.
  const std::chrono::microseconds spin;
  std::vector<Worker> workers;
};

void ThreadPool::State::work(int rank) {
  Worker& self = workers[static_cast<size_t>(rank - 1)];
  for (uint32_t seen = 0;;) {
    if (!spin_until(spin, [&] { return run.load(std::memory_order_acquire) != seen; })) {
      sleeping_workers.fetch_add(1);
      run.wait(seen);
      sleeping_workers.fetch_sub(1);
    }
    const uint32_t now = run.load(std::memory_order_acquire);
    uint32_t before = now - 1;
    seen = now;
    if (!self.claimed.compare_exchange_strong(before, now, std::memory_order_acq_rel)) continue;
    if (stop) return;
    function(context, rank);
    self.done.store(now);
    if (sleeping_caller.load()) self.done.notify_one();
  }
}

void ThreadPool::State::wait_for(Worker& worker, uint32_t now) {
  if (spin_until(spin, [&] { return worker.done.load(std::memory_order_acquire) == now; })) return;
  sleeping_caller.store(true);
  for (uint32_t done = worker.done.load(); done != now; done = worker.done.load()) worker.done.wait(done);
  sleeping_caller.store(false);
}

ThreadPool::ThreadPool(int threads) : size_(threads) {
  CHECK(threads >= 1);
  state_ = std::make_unique<State>(threads);
  int started = 1;
  try {
    for (; started < size_; ++started)
      state_->workers[static_cast<size_t>(started - 1)].thread =
          std::thread([state = state_.get(), rank = started] { state->work(rank); });
  } catch (const std::system_error& error) {
    stop();
    fail(Errc::out_of_memory, "threads: the system gave {} of {}: {}", started, threads, error.what());
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  state_->stop = true;
  state_->run.fetch_add(1);
  state_->run.notify_all();
  for (State::Worker& worker : state_->workers)
    if (worker.thread.joinable()) worker.thread.join();
}

void ThreadPool::run_erased(Function function, void* context) {
  if (size_ == 1) return function(context, 0);
  State& state = *state_;
  const bool nested = state.busy.exchange(true, std::memory_order_acquire);
  CHECK(!nested);
  state.function = function;
  state.context = context;
  const uint32_t now = state.run.fetch_add(1) + 1;
  if (state.sleeping_workers.load() > 0) state.run.notify_all();
  function(context, 0);
  for (int rank = 1; rank < size_; ++rank) {
    State::Worker& worker = state.workers[static_cast<size_t>(rank - 1)];
    uint32_t before = now - 1;
    if (!worker.claimed.compare_exchange_strong(before, now, std::memory_order_acq_rel)) continue;
    function(context, rank);
    worker.done.store(now, std::memory_order_relaxed);
  }
  for (State::Worker& worker : state.workers) state.wait_for(worker, now);
  state.busy.store(false, std::memory_order_release);
}

}  // namespace inkstone
