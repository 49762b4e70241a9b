#include "engine/generator.h"

#include <algorithm>
#include <chrono>

namespace inkstone {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int blocks_for(int tokens) { return (tokens + kKvBlockTokens - 1) / kKvBlockTokens; }

void check_token(int32_t token, const ModelConfig& config) {
  if (token < 0 || token >= config.vocab_size)
    fail(Errc::bad_file, "the tokenizer gave token {}: expected one below the model's vocab_size {}", token,
         config.vocab_size);
}

}  // namespace

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop: return "stop";
    case FinishReason::length: return "length";
    case FinishReason::cancelled: return "cancelled";
  }
  return "?";
}

Generator::Generator(Model& model, int context_size)
    : model_(model),
      context_size_(context_size),
      kv_(model.device(), model.config(), blocks_for(context_size)),
      allocator_(blocks_for(context_size)),
      sequence_(allocator_),
      logits_(static_cast<size_t>(model.config().vocab_size)) {
  CHECK(context_size >= 1);
}

Tensor Generator::run(std::span<const int32_t> tokens, Logits wanted) {
  Batch batch;
  const int before = sequence_.size();
  sequence_.append(tokens, batch);
  const int rows = batch.size();
  const int first = wanted == Logits::all ? 0 : wanted == Logits::last ? rows - 1 : rows;
  for (int row = first; row < rows; ++row) batch.logit_rows.push_back(row);
  try {
    return model_.forward(batch, kv_);
  } catch (...) {
    sequence_.truncate(before);  // their K and V were not written: the next prompt must not find them in the cache
    throw;
  }
}

bool Generator::read(std::span<const int32_t> tokens, const std::function<bool()>& on_chunk) {
  while (!tokens.empty()) {
    const std::span<const int32_t> chunk = tokens.first(std::min<size_t>(kChunkTokens, tokens.size()));
    tokens = tokens.subspan(chunk.size());
    const Tensor logits = run(chunk, tokens.empty() ? Logits::last : Logits::none);
    if (tokens.empty()) model_.device().download(logits, logits_);
    const bool go_on = on_chunk();
    if (!tokens.empty() && !go_on) return false;
  }
  return true;
}

GenerationResult Generator::generate(const GenerationRequest& request, const GenerationCallbacks& callbacks) {
  const std::span<const int32_t> prompt = request.prompt;
  const int prompt_size = static_cast<int>(prompt.size());
  if (prompt_size == 0) fail(Errc::bad_file, "the prompt has no tokens: expected the tokenizer to know some of it");
  if (prompt_size >= context_size_)
    fail(Errc::context_length, "the prompt has {} tokens: expected fewer than the context of {}", prompt_size,
         context_size_);
  for (const int32_t token : prompt) check_token(token, model_.config());
  const auto cancelled = [&] { return callbacks.cancelled && callbacks.cancelled(); };

  GenerationResult result;
  result.prompt_tokens = prompt_size;
  // The last token is always read again: its logits are what the first token is drawn from.
  result.cached_tokens = std::min(sequence_.common_prefix(prompt), prompt_size - 1);
  sequence_.truncate(result.cached_tokens);

  auto start = std::chrono::steady_clock::now();
  const bool whole = !cancelled() && read(prompt.subspan(static_cast<size_t>(result.cached_tokens)), [&] {
    if (callbacks.on_prompt) callbacks.on_prompt(sequence_.size(), prompt_size);
    return !cancelled();
  });
  if (!whole) {
    result.finish = FinishReason::cancelled;
    return result;
  }
  result.prompt_seconds = seconds_since(start);

  start = std::chrono::steady_clock::now();
  const int room = context_size_ - prompt_size;
  const int limit = std::min(request.max_tokens.value_or(room), room);
  Sampler sampler(request.sampling);
  std::vector<int32_t> history(prompt.begin(), prompt.end());
  for (;;) {
    if (static_cast<int>(result.tokens.size()) >= limit) {
      result.finish = FinishReason::length;
      break;
    }
    if (cancelled()) {
      result.finish = FinishReason::cancelled;
      break;
    }
    Sampled sampled;
    if (const auto forced = request.thinking ? request.thinking->forced() : std::nullopt) {
      sampled.token = *forced;
      check_token(*forced, model_.config());
    } else {
      sampled = sampler.next(logits_, history);
      if (std::ranges::count(request.stop_tokens, sampled.token) > 0) {
        result.finish = FinishReason::stop;
        break;
      }
    }
    if (request.thinking) request.thinking->observe(sampled.token);
    result.tokens.push_back(sampled.token);
    history.push_back(sampled.token);
    if (callbacks.on_token) callbacks.on_token(sampled);
    // The limit's last token needs no forward pass: nothing is drawn from its logits.
    if (static_cast<int>(result.tokens.size()) >= limit) continue;
    ++result.decode_steps;
    model_.device().download(run({&history.back(), 1}, Logits::last), logits_);
  }
  result.decode_seconds = seconds_since(start);
  return result;
}

std::vector<float> Generator::score(std::span<const int32_t> tokens) {
  const size_t vocab = static_cast<size_t>(model_.config().vocab_size);
  if (static_cast<int>(tokens.size()) > context_size_)
    fail(Errc::context_length, "{} tokens: expected at most the context of {}", tokens.size(), context_size_);
  clear();
  const size_t chunk = static_cast<size_t>(score_chunk());
  std::vector<float> logits(tokens.size() * vocab);
  for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
    const size_t count = std::min(chunk, tokens.size() - begin);
    model_.device().download(run(tokens.subspan(begin, count), Logits::all),
                             std::span(logits).subspan(begin * vocab, count * vocab));
  }
  return logits;
}

int Generator::score_chunk() const { return std::clamp((16 << 20) / model_.config().vocab_size, 1, kChunkTokens); }

std::span<const float> Generator::score_next(std::span<const int32_t> tokens) {
  CHECK(!tokens.empty() && tokens.size() <= static_cast<size_t>(score_chunk()));
  if (sequence_.size() + static_cast<int>(tokens.size()) > context_size_)
    fail(Errc::context_length, "{} tokens: expected at most the context of {}",
         sequence_.size() + static_cast<int>(tokens.size()), context_size_);
  scored_.resize(tokens.size() * static_cast<size_t>(model_.config().vocab_size));
  model_.device().download(run(tokens, Logits::all), scored_);
  return scored_;
}

int Generator::keep_common(std::span<const int32_t> tokens, int most) {
  sequence_.truncate(std::min(sequence_.common_prefix(tokens), most));
  return sequence_.size();
}

std::vector<float> Generator::next_logits(std::span<const int32_t> tokens) {
  CHECK(!tokens.empty());
  if (sequence_.size() + static_cast<int>(tokens.size()) > context_size_)
    fail(Errc::context_length, "{} tokens: expected at most the context of {}", tokens.size(), context_size_);
  read(tokens, [] { return true; });
  return logits_;
}

void Generator::restore(std::span<const int32_t> tokens, const PromptCache& cache) {
  const ModelConfig& config = model_.config();
  if (static_cast<int>(cache.layers.size()) != config.num_hidden_layers)
    fail(Errc::bad_file, "prompt cache: found {} layers, expected {}", cache.layers.size(), config.num_hidden_layers);
  if (cache.tokens != static_cast<int64_t>(tokens.size()) || cache.tokens > context_size_)
    fail(Errc::bad_file, "prompt cache: found {} tokens, expected {} within the context of {}", cache.tokens,
         tokens.size(), context_size_);
  const int64_t count = cache.tokens;
  const int64_t heads = config.num_key_value_heads, d = config.head_dim;
  for (size_t i = 0; i < cache.layers.size(); ++i)
    if (cache.layers[i].heads != heads || cache.layers[i].head_dim != d)
      fail(Errc::bad_file, "prompt cache: layer {}: found {} heads of {}, expected {} of {}", i, cache.layers[i].heads,
           cache.layers[i].head_dim, heads, d);
  clear();
  Batch batch;
  sequence_.append(tokens, batch);
  // [K, T, n] as the file has it to rows [T, K * n].
  const auto rows_of = [&](const std::vector<float>& values, int64_t n) {
    std::vector<float> rows(values.size());
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t t = 0; t < count; ++t)
        std::copy_n(values.begin() + (h * count + t) * n, n, rows.begin() + (t * heads + h) * n);
    return rows;
  };
  for (size_t i = 0; i < cache.layers.size(); ++i) {
    const PromptCacheLayer& layer = cache.layers[i];
    const KvLayer& kv = kv_.layer(static_cast<int>(i));
    const Buffer k = model_.device().upload(rows_of(layer.keys, d));
    const Buffer v = model_.device().upload(rows_of(layer.values, d));
    // Of the same bits and groups as ours, codes go over as they are.
    const bool same = layer.bits != 0 && layer.bits == kv.format.bits && layer.group_size == kv.format.group_size;
    const int64_t pairs = same ? d / layer.group_size * 2 : 0;
    const std::vector<float> k_scales = same ? rows_of(layer.key_scales, pairs) : std::vector<float>();
    const std::vector<float> v_scales = same ? rows_of(layer.value_scales, pairs) : std::vector<float>();
    model_.device().write_kv(k.view(DType::f32, {count, heads * d}), v.view(DType::f32, {count, heads * d}),
                             batch.slots, kv, {k_scales, v_scales});
  }
}

}  // namespace inkstone
