#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/system.h"
#include "format/adapter.h"
#include "format/safetensors_writer.h"
#include "train/batches.h"

namespace inkstone {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

constexpr std::string_view kAdapters = "_adapters.safetensors";
constexpr const char* kState = "_state.safetensors";
constexpr const char* kProgress = "progress";  // one number each: iterations, updates, targets, best, worse

// "0000100_state.safetensors" beside "0000100_adapters.safetensors".
std::filesystem::path state_path(const std::filesystem::path& adapter_file) {
  const std::string name = adapter_file.filename().string();
  CHECK(name.ends_with(kAdapters));
  return adapter_file.parent_path() / (name.substr(0, name.size() - kAdapters.size()) + kState);
}

}  // namespace

Trainer::Trainer(Qwen3& model, Parameters& parameters, const TrainConfig& config, const Dataset& train,
                 const Dataset* valid)
    : parameters_(parameters),
      config_(config),
      train_(train),
      valid_(valid),
      optimizer_(parameters, config.optimizer, config.optimizer_config()),
      backward_(model, parameters, config.grad_checkpoint),
      rate_(config.schedule()) {
  if (config.train) batch_at(0);
}

// Iterations walk through one epoch's batches after the other's, so the number alone says which one is next.
const std::vector<size_t>& Trainer::batch_at(int iteration) {
  const int64_t per_epoch = static_cast<int64_t>(train_.examples.size()) / config_.batch_size;
  const int64_t epoch = per_epoch > 0 ? iteration / per_epoch : 0;
  if (epoch != epoch_)
    batches_ = make_batches(train_.examples.size(), config_.batch_size, config_.seed, static_cast<uint64_t>(epoch));
  epoch_ = epoch;
  return batches_[static_cast<size_t>(iteration % per_epoch)];
}

TrainBatch Trainer::make_batch(const Dataset& data, const std::vector<size_t>& indices) const {
  TrainBatch batch;
  for (const size_t index : indices) {
    const Example& example = data.examples[index];
    batch.add(example.tokens, example.prompt_tokens);
  }
  return batch;
}

std::optional<double> Trainer::loss(const Dataset& data, int batches, const std::function<bool()>& stop) {
  const int count = static_cast<int>(data.examples.size()), size = std::min(config_.batch_size, count);
  auto all = make_batches(data.examples.size(), size, config_.seed, 0, batches < 0 ? Rest::last_batch : Rest::dropped);
  if (batches >= 0 && all.size() > static_cast<size_t>(batches)) all.resize(static_cast<size_t>(batches));
  double sum = 0;
  int64_t targets = 0;
  for (const std::vector<size_t>& indices : all) {
    const TrainBatch batch = make_batch(data, indices);
    sum += backward_.loss(batch);
    targets += batch.target_count();
    if (stop && stop()) return std::nullopt;
  }
  return targets > 0 ? sum / static_cast<double>(targets) : 0;
}

// False: it has not become better for too long.
bool Trainer::validate(int iteration, const TrainerEvents& events) {
  if (valid_ == nullptr || config_.val_batches == 0) return true;
  const auto start = Clock::now();
  const std::optional<double> found = loss(*valid_, config_.val_batches, events.stop);
  if (!found) return true;  // whoever wants to stop is asked again
  events.on_validation({iteration, *found, seconds_since(start)});
  worse_ = *found < best_ ? 0 : worse_ + 1;
  best_ = std::min(best_, *found);
  return config_.early_stop == 0 || worse_ < config_.early_stop;
}

// Each batch' gradient is that of its mean loss, divided by the batches of an update, as in mlx_lm.
TrainEnd Trainer::run(const TrainerEvents& events) {
  const auto start = Clock::now();
  const int first = done_;
  double since_loss = 0, since_seconds = 0, validation_seconds = 0;
  int64_t since_targets = 0;
  int since_iterations = 0;
  bool to_save = false;
  parameters_.clear_gradients();
  TrainEnd end = TrainEnd::finished;
  if (done_ == 0) validate(0, events);
  validation_seconds = seconds_since(start);
  while (done_ < config_.iters && end == TrainEnd::finished) {
    const auto begin = Clock::now();
    const TrainBatch batch = make_batch(train_, batch_at(done_));
    const double share =
        static_cast<double>(std::max<int64_t>(1, batch.target_count())) * config_.grad_accumulation_steps;
    const double sum = backward_.accumulate(batch, static_cast<float>(1 / share));
    if (!std::isfinite(sum))
      fail(Errc::bad_file, "iteration {}: the loss is {}: a lower learning rate or max_grad_norm may help", done_ + 1,
           sum);
    ++done_;
    const bool update = done_ % config_.grad_accumulation_steps == 0;
    const float rate = rate_.at(optimizer_.steps());
    if (update) {
      float scale = 1;
      if (config_.max_grad_norm > 0) {
        const double norm = optimizer_.gradient_norm();
        if (norm > config_.max_grad_norm) scale = static_cast<float>(config_.max_grad_norm / norm);
      }
      optimizer_.step(rate, scale);
      parameters_.clear_gradients();
    }
    trained_tokens_ += batch.target_count();
    if (update) updated_tokens_ = trained_tokens_;
    since_loss += sum;
    since_targets += batch.target_count();
    ++since_iterations;
    since_seconds += seconds_since(begin);
    const bool last = done_ == config_.iters;
    if (done_ % config_.steps_per_report == 0 || last) {
      const double per_iteration = (seconds_since(start) - validation_seconds) / (done_ - first);
      events.on_report({.iteration = done_,
                        .train_loss = since_loss / static_cast<double>(std::max<int64_t>(1, since_targets)),
                        .learning_rate = static_cast<double>(rate),
                        .iterations_per_second = since_iterations / since_seconds,
                        .tokens_per_second = static_cast<double>(since_targets) / since_seconds,
                        .trained_tokens = trained_tokens_,
                        .peak_memory = static_cast<double>(peak_resident_bytes()) * 1e-9},
                       per_iteration * (config_.iters - done_));
      since_loss = since_seconds = 0;
      since_targets = since_iterations = 0;
    }
    if (done_ % config_.steps_per_eval == 0 || last) {
      const auto validation = Clock::now();
      if (!validate(done_, events)) end = TrainEnd::early_stop;
      validation_seconds += seconds_since(validation);
    }
    if (end == TrainEnd::finished && !last && events.stop && events.stop()) end = TrainEnd::stopped;
    to_save = to_save || done_ % config_.save_every == 0 || last || end != TrainEnd::finished;
    if (to_save && (update || last || end != TrainEnd::finished)) {
      save(done_, events);
      to_save = false;
    }
  }
  return end;
}

// The state first: an adapter file that is there has its state beside it. Gradients are not saved: where the batches of
// an update are not complete, a resume begins with the first of them again.
void Trainer::save(int iteration, const TrainerEvents& events) {
  const std::filesystem::path folder = config_.adapter_path;
  const std::filesystem::path numbered = folder / adapter_checkpoint_name(iteration);
  std::map<std::string, ConstTensor, std::less<>> state;
  for (const auto& [name, tensor] : optimizer_.state()) state[name] = tensor;
  const double progress[] = {static_cast<double>(done_ - done_ % config_.grad_accumulation_steps),
                             static_cast<double>(optimizer_.steps()), static_cast<double>(updated_tokens_), best_,
                             static_cast<double>(worse_)};
  state[kProgress] = {reinterpret_cast<const std::byte*>(progress), DType::f64, {std::ssize(progress)}};
  write_safetensors(state_path(numbered), state);

  std::vector<std::vector<float>> values;
  std::map<std::string, ConstTensor, std::less<>> adapter;
  for (const Parameter& parameter : parameters_.all()) {
    const std::vector<float>& floats = values.emplace_back(parameters_.values_for_file(parameter));
    adapter[parameter.name] = {reinterpret_cast<const std::byte*>(floats.data()), DType::f32, parameter.file_shape()};
  }
  write_safetensors(numbered, adapter);
  write_safetensors(folder / kAdapterFile, adapter);
  events.on_save(numbered);
}

int Trainer::resume(const std::filesystem::path& adapter_file) {
  parameters_.load(Safetensors(adapter_file));
  const std::filesystem::path beside = state_path(adapter_file);
  const Safetensors file(beside);
  const auto take = [&](const std::string& name, DType dtype, const Shape& shape, void* to) {
    const ConstTensor* tensor = file.find(name);
    if (tensor == nullptr || tensor->dtype != dtype || tensor->shape != shape)
      fail(Errc::bad_file, "{}: {}: found {}, expected {} {} as this training has", beside.string(), name,
           tensor == nullptr ? "nothing" : tensor->shape.to_string(), dtype_name(dtype), shape.to_string());
    std::memcpy(to, tensor->data, tensor->bytes());
  };
  for (const auto& [name, tensor] : optimizer_.state()) take(name, DType::f32, tensor.shape, tensor.data);
  double progress[5];
  take(kProgress, DType::f64, {5}, progress);
  const auto count = [&](double value) {
    if (!(value >= 0 && value <= 1e15 && value == std::floor(value)))
      fail(Errc::bad_file, "{}: {}: found {}, expected a count", beside.string(), kProgress, value);
    return static_cast<int64_t>(value);
  };
  done_ = static_cast<int>(std::min<int64_t>(count(progress[0]), std::numeric_limits<int>::max()));
  optimizer_.resume_at(count(progress[1]));
  trained_tokens_ = updated_tokens_ = count(progress[2]);
  best_ = progress[3];
  worse_ = static_cast<int>(std::min<int64_t>(count(progress[4]), 1'000'000));
  return done_;
}

}  // namespace inkstone
