// ThreadPool: the threads of one device. run() gives the same function to every rank, the caller's included, and
// returns when all are done. One run at a time, from one thread; the function must not call run() again (checked) and
// must not throw (it ends the program).
//
// A worker spins for some tens of microseconds for the next run and then sleeps, so an idle pool costs nothing. A rank
// whose worker has not come when the caller has done its own is done by the caller: no run ever waits for a thread to
// wake up or to be given a processor, only for one that is at work. So a rank is a share of the work, with memory of
// its own if it likes, and not a thread.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace inkstone {

class ThreadPool {
 public:
  // `threads` >= 1 counts the caller: ThreadPool(1) starts no thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return size_; }

  // Calls fn(rank) once for every rank in [0, size()), 0 on the caller's thread.
  template <class F>
  void run(F&& fn) {
    using Fn = std::remove_reference_t<F>;
    run_erased([](void* context, int rank) noexcept { (*static_cast<Fn*>(context))(rank); },
               const_cast<void*>(static_cast<const void*>(&fn)));
  }

  // Splits [0, count) into one contiguous range a rank, multiples of `grain`, and calls fn(begin, end) on each.
  template <class F>
  void parallel_for(int64_t count, int64_t grain, F&& fn) {
    const int64_t units = (count + grain - 1) / grain;
    if (units <= 1 || size_ == 1) {
      if (count > 0) fn(int64_t{0}, count);
      return;
    }
    run([&](int rank) {
      const int64_t begin = units * rank / size_ * grain;
      const int64_t end = units * (rank + 1) / size_ * grain;
      if (begin < count && begin < end) fn(begin, end < count ? end : count);
    });
  }

 private:
  using Function = void (*)(void* context, int rank) noexcept;
  void run_erased(Function function, void* context);
  void stop();

  struct State;
  int size_;
  std::unique_ptr<State> state_;
};

}  // namespace inkstone
