#include "text/jinja/budget.h"

#include "text/jinja/failure.h"

namespace inkstone::jinja {
namespace {
thread_local Budget* current_budget = nullptr;
}

Budget::Budget(const Limits& limits) : limits_(limits), outer_(current_budget) { current_budget = this; }
Budget::~Budget() { current_budget = outer_; }
Budget* Budget::current() { return current_budget; }

void Budget::out_of_steps() const { raise("the template takes more than {} steps", limits_.steps); }
void Budget::out_of_memory() const { raise("the template's values take more than {} bytes", limits_.memory); }

void charge(size_t bytes) {
  if (current_budget) current_budget->step(static_cast<int64_t>(bytes / 32));
}

void check_text_size(size_t bytes) {
  const size_t limit = current_budget ? current_budget->limits().text : Limits().text;
  if (bytes > limit) raise("a string would be longer than {} bytes", limit);
}

Held::Held(size_t bytes) : budget_(current_budget), bytes_(static_cast<int64_t>(bytes)) {
  if (budget_) budget_->hold(bytes_);
}
Held::~Held() {
  if (budget_) budget_->release(bytes_);
}

}  // namespace inkstone::jinja
