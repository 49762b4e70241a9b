#include "train/backward.h"

#include <algorithm>

namespace inkstone {
namespace {

constexpr size_t kAlignment = 64;
constexpr int64_t kLogitFloats = int64_t{1} << 25;  // of rows whose logits exist at a time: 128 MiB

// Hands out tensors from one piece of memory; with base == nullptr it only counts.
class Arena {
 public:
  explicit Arena(std::byte* base) : base_(base) {}
  void place(Tensor& tensor, int64_t rows, int64_t columns, DType dtype = DType::f32) {
    tensor = {base_ == nullptr ? nullptr : base_ + used_, dtype, {rows, columns}};
    used_ += (tensor.bytes() + kAlignment - 1) / kAlignment * kAlignment;
  }
  size_t used() const { return used_; }

 private:
  std::byte* base_;
  size_t used_ = 0;
};

Tensor rows_of(const Tensor& tensor, int64_t rows) { return {tensor.data, tensor.dtype, {rows, tensor.shape[1]}}; }

}  // namespace

// What the gradient of a layer needs of its forward pass, beside its input x [T, D].
struct Backward::Tape {
  Tensor q, k, v;   // [T, H * d] [T, K * d], q and k before their norms
  Tensor att;       // [T, H * d]
  Tensor gate, up;  // [T, F], dense
  Tensor router;    // [T, E], experts
  Routing routing;
  ExpertsTape experts;

  void place(Arena& arena, const ModelConfig& c, int64_t rows) {
    const int64_t query = int64_t{c.num_attention_heads} * c.head_dim,
                  key = int64_t{c.num_key_value_heads} * c.head_dim;
    arena.place(q, rows, query);
    arena.place(k, rows, key);
    arena.place(v, rows, key);
    arena.place(att, rows, query);
    bool dense = false, moe = false;
    for (int i = 0; i < c.num_hidden_layers; ++i) (c.is_moe_layer(i) ? moe : dense) = true;
    arena.place(gate, dense ? rows : 0, c.intermediate_size);
    arena.place(up, dense ? rows : 0, c.intermediate_size);
    const int64_t tokens = moe ? rows : 0, pairs = tokens * c.num_experts_per_tok;
    arena.place(router, tokens, c.num_experts);
    arena.place(routing.experts, tokens, c.num_experts_per_tok, DType::i32);
    arena.place(routing.weights, tokens, c.num_experts_per_tok);
    arena.place(experts.gate, pairs, c.moe_intermediate_size);
    arena.place(experts.up, pairs, c.moe_intermediate_size);
    arena.place(experts.down, pairs, c.hidden_size);
  }
};

// What lives within one layer's step.
struct Backward::Scratch {
  Tensor rope;              // [T, d]
  Tensor h, dh, dx;         // [T, D]
  Tensor mid;               // [T, D] x + the attention's part
  Tensor q, k, dq, dk, dv;  // rotated, and gradients: [T, H * d], [T, K * d]
  Tensor datt, dq_in, dk_in;
  Tensor act, dact;  // [T, F]
  Tensor drouter, dweights;
  Tensor other;  // [T, D] the output of a layer whose input need not be kept
  KvLayer kv;
  Tensor kv_memory;

  void place(Arena& arena, Device& device, const ModelConfig& c, int64_t rows, int blocks, bool backward) {
    const int64_t query = int64_t{c.num_attention_heads} * c.head_dim,
                  key = int64_t{c.num_key_value_heads} * c.head_dim;
    arena.place(rope, rows, c.head_dim);
    arena.place(h, rows, c.hidden_size);
    arena.place(mid, rows, c.hidden_size);
    arena.place(other, rows, c.hidden_size);
    arena.place(q, rows, query);
    arena.place(k, rows, key);
    arena.place(act, rows, c.intermediate_size);
    const KvFormat format = device.kv_format();
    const int64_t bytes = format.row_bytes(c.head_dim) * c.num_key_value_heads * blocks * kKvBlockTokens;
    arena.place(kv_memory, 2, bytes, DType::u8);
    kv = {kv_memory.data, kv_memory.data + bytes, format, blocks, c.num_key_value_heads, c.head_dim};
    const int64_t back = backward ? rows : 0;
    arena.place(dact, back, c.intermediate_size);
    for (Tensor* tensor : {&dh, &dx}) arena.place(*tensor, back, c.hidden_size);
    for (Tensor* tensor : {&dq, &datt, &dq_in}) arena.place(*tensor, back, query);
    for (Tensor* tensor : {&dk, &dv, &dk_in}) arena.place(*tensor, back, key);
    arena.place(drouter, back, c.num_experts);
    arena.place(dweights, back, c.num_experts_per_tok);
  }
};

Backward::Backward(Qwen3& model, Parameters& parameters, bool recompute)
    : model_(model),
      parameters_(parameters),
      device_(model.device()),
      training_(*model.device().training()),
      recompute_(recompute),
      scratch_(std::make_unique<Scratch>()) {
  CHECK(device_.activation_dtype() == DType::f32);
}

Backward::~Backward() = default;

Backward::Tape& Backward::tape_of(int i) {
  return tapes_.size() == 1 ? tapes_.front() : tapes_[static_cast<size_t>(i - parameters_.lowest_layer())];
}

// Without `keep` one tape serves all layers, and their inputs change places.
void Backward::resize(const TrainBatch& batch, bool keep) {
  const ModelConfig& config = model_.config();
  const int kept = keep ? config.num_hidden_layers - parameters_.lowest_layer() : 0;
  tapes_.resize(keep && !recompute_ ? static_cast<size_t>(std::max(1, kept)) : 1);
  xs_.resize(static_cast<size_t>(kept) + 1);
  const auto lay_out = [&](std::byte* base) {
    Arena arena(base);
    for (Tensor& x : xs_) arena.place(x, batch.batch.size(), config.hidden_size);
    for (Tape& tape : tapes_) tape.place(arena, config, batch.batch.size());
    scratch_->place(arena, device_, config, batch.batch.size(), static_cast<int>(batch.batch.blocks.size()), keep);
    return arena.used();
  };
  const size_t bytes = lay_out(nullptr);
  if (memory_.size() < bytes) {
    memory_ = Buffer();
    memory_ = device_.allocate(bytes);
  }
  lay_out(memory_.data());
}

double Backward::loss(const TrainBatch& batch) {
  if (batch.targets.empty()) return 0;
  resize(batch, false);
  forward(batch, false);
  return head(batch, xs_.back(), nullptr, 0);
}

double Backward::accumulate(const TrainBatch& batch, float scale) {
  if (batch.targets.empty()) return 0;
  resize(batch, true);
  forward(batch, true);
  const Tensor& dx = scratch_->dx;
  training_.fill_zero(dx);
  const double loss = head(batch, xs_.back(), &dx, scale);
  const int lowest = parameters_.lowest_layer();
  for (int i = model_.config().num_hidden_layers - 1; i >= lowest; --i) {
    const Tensor& x = xs_[static_cast<size_t>(i - lowest)];
    if (recompute_) forward_layer(i, batch, x, tape_of(i), scratch_->other);
    backward_layer(i, batch, x, tape_of(i), dx);
  }
  if (parameters_.embedding_learns())
    training_.embed_backward(batch.batch.tokens, dx, parameters_.of(model_.embed_tokens()).weight);
  return loss;
}

void Backward::forward(const TrainBatch& batch, bool keep) {
  const int layers = model_.config().num_hidden_layers, lowest = keep ? parameters_.lowest_layer() : layers;
  device_.rope_table(batch.batch.positions, model_.rope(), scratch_->rope);
  Tensor x = xs_.front();
  Tensor other = scratch_->other;
  // So many layers change places between the two: the last of them must come out in xs_.front().
  if (lowest % 2 == 1) std::swap(x, other);
  device_.embed(model_.embed_tokens(), batch.batch.tokens, x);
  for (int i = 0; i < lowest; ++i) {
    forward_layer(i, batch, x, tapes_.front(), other);
    std::swap(x, other);
  }
  for (int i = lowest; i < layers; ++i)
    forward_layer(i, batch, xs_[static_cast<size_t>(i - lowest)], tape_of(i), xs_[static_cast<size_t>(i - lowest + 1)]);
}

// Scratch::mid.
void Backward::add_attention(int i, const Tensor& x, const Tape& tape) {
  training_.convert(x, scratch_->mid);
  device_.linear_add(tape.att, model_.layer(i).o_proj, scratch_->mid);
}

void Backward::forward_layer(int i, const TrainBatch& batch, const Tensor& x, Tape& tape, const Tensor& out) {
  const Qwen3::Layer& l = model_.layer(i);
  const Scratch& s = *scratch_;
  device_.rms_norm(x, l.input_layernorm, s.h);
  device_.linear(s.h, {{&l.q_proj, &l.k_proj, &l.v_proj}}, {{tape.q, tape.k, tape.v}});
  training_.convert(tape.q, s.q);
  training_.convert(tape.k, s.k);
  device_.norm_rope(s.q, l.q_norm, s.rope);
  device_.norm_rope(s.k, l.k_norm, s.rope);
  device_.write_kv(s.k, tape.v, batch.batch.slots, s.kv);
  device_.attend(s.q, s.kv, batch.batch, model_.attention_scale(), tape.att);
  add_attention(i, x, tape);
  device_.rms_norm(s.mid, l.post_attention_layernorm, s.h);
  training_.convert(s.mid, out);
  if (const Qwen3::MoeBlock* moe = model_.experts(i)) {
    device_.linear(s.h, {{&moe->gate}}, {{tape.router}});
    device_.route(tape.router, model_.config().norm_topk_prob, tape.routing);
    training_.experts_add(s.h, moe->switch_mlp, tape.routing, tape.experts, out);
    return;
  }
  device_.linear(s.h, {{&l.mlp.gate_proj, &l.mlp.up_proj}}, {{tape.gate, tape.up}});
  training_.swiglu(tape.gate, tape.up, s.act);
  device_.linear_add(s.act, l.mlp.down_proj, out);
}

// dx: the gradient of the layer's output, then of its input.
void Backward::backward_layer(int i, const TrainBatch& batch, const Tensor& x, Tape& tape, const Tensor& dx) {
  const Qwen3::Layer& l = model_.layer(i);
  const Scratch& s = *scratch_;
  if (!recompute_) add_attention(i, x, tape);  // cheaper than its memory: 1 / 14 of the tape for 1 / 30 of the work
  backward_mlp(i, tape, dx);

  training_.linear_backward(tape.att, {{&l.o_proj}}, {{dx}}, {{&parameters_.of(l.o_proj)}}, s.datt);
  training_.convert(tape.q, s.q);
  training_.convert(tape.k, s.k);
  device_.norm_rope(s.q, l.q_norm, s.rope);
  device_.norm_rope(s.k, l.k_norm, s.rope);
  training_.attend_backward(s.q, s.k, tape.v, tape.att, s.datt, batch.batch.spans, model_.config().num_key_value_heads,
                            model_.attention_scale(), s.dq, s.dk, s.dv);
  training_.norm_rope_backward(tape.q, l.q_norm, s.rope, s.dq, s.dq_in, parameters_.of(l.q_norm));
  training_.norm_rope_backward(tape.k, l.k_norm, s.rope, s.dk, s.dk_in, parameters_.of(l.k_norm));
  device_.rms_norm(x, l.input_layernorm, s.h);
  const bool below = i > parameters_.lowest_layer() || parameters_.embedding_learns();
  const Tensor norm_gradient = parameters_.of(l.input_layernorm);
  const Tensor dh = below || norm_gradient.data != nullptr ? s.dh : Tensor{};
  training_.linear_backward(s.h, {{&l.q_proj, &l.k_proj, &l.v_proj}}, {{s.dq_in, s.dk_in, s.dv}},
                            {{&parameters_.of(l.q_proj), &parameters_.of(l.k_proj), &parameters_.of(l.v_proj)}}, dh);
  if (dh.data != nullptr) training_.rms_norm_backward(x, l.input_layernorm, dh, dx, norm_gradient);
}

void Backward::backward_mlp(int i, Tape& tape, const Tensor& dx) {
  const Qwen3::Layer& l = model_.layer(i);
  const Scratch& s = *scratch_;
  device_.rms_norm(s.mid, l.post_attention_layernorm, s.h);
  if (const Qwen3::MoeBlock* moe = model_.experts(i)) {
    const Mlp& mlp = moe->switch_mlp;
    const MlpGradient gradients{parameters_.of(mlp.gate_proj), parameters_.of(mlp.up_proj),
                                parameters_.of(mlp.down_proj)};
    training_.experts_backward(s.h, mlp, tape.routing, tape.experts, dx, gradients, s.dh, s.dweights);
    training_.rms_norm_backward(s.mid, l.post_attention_layernorm, s.dh, dx,
                                parameters_.of(l.post_attention_layernorm));
    training_.route_backward(tape.router, model_.config().norm_topk_prob, tape.routing, s.dweights, s.drouter);
    training_.linear_backward(s.h, {{&moe->gate}}, {{s.drouter}}, {{&parameters_.of(moe->gate)}}, s.dh);
  } else {
    training_.swiglu(tape.gate, tape.up, s.act);
    training_.linear_backward(s.act, {{&l.mlp.down_proj}}, {{dx}}, {{&parameters_.of(l.mlp.down_proj)}}, s.dact);
    training_.swiglu_backward(tape.gate, tape.up, s.dact, tape.gate, tape.up);
    training_.linear_backward(s.h, {{&l.mlp.gate_proj, &l.mlp.up_proj}}, {{tape.gate, tape.up}},
                              {{&parameters_.of(l.mlp.gate_proj), &parameters_.of(l.mlp.up_proj)}}, s.dh);
  }
  training_.rms_norm_backward(s.mid, l.post_attention_layernorm, s.dh, dx, parameters_.of(l.post_attention_layernorm));
}

// The rows that predict, some at a time: a whole batch' logits over a large vocabulary would be the largest tensor.
double Backward::head(const TrainBatch& batch, const Tensor& x, const Tensor* dx, float scale) {
  const ModelConfig& config = model_.config();
  const int64_t count = batch.target_count(), hidden = config.hidden_size, vocabulary = config.vocab_size;
  const int64_t at_once = std::clamp<int64_t>(kLogitFloats / vocabulary, 1, count);
  Tensor last, normed, dnormed, dlast, logits;
  const auto lay_out = [&](std::byte* base) {
    Arena arena(base);
    for (Tensor* tensor : {&last, &normed, &dnormed, &dlast}) arena.place(*tensor, at_once, hidden);
    arena.place(logits, at_once, vocabulary);
    return arena.used();
  };
  const size_t bytes = lay_out(nullptr);
  if (logits_memory_.size() < bytes) {
    logits_memory_ = Buffer();
    logits_memory_ = device_.allocate(bytes);
  }
  lay_out(logits_memory_.data());
  std::vector<float> losses(static_cast<size_t>(at_once));
  const Linear* const head = &model_.head();
  double sum = 0;
  for (int64_t begin = 0; begin < count; begin += at_once) {
    const int64_t rows = std::min(at_once, count - begin);
    const auto part = [&](auto& all) {
      return std::span(all).subspan(static_cast<size_t>(begin), static_cast<size_t>(rows));
    };
    const std::span<const int32_t> positions = part(batch.batch.logit_rows);
    device_.gather_rows(x, positions, rows_of(last, rows));
    device_.rms_norm(rows_of(last, rows), model_.norm(), rows_of(normed, rows));
    device_.linear(rows_of(normed, rows), {{head}}, {{rows_of(logits, rows)}});
    const std::span<float> row_losses(losses.data(), static_cast<size_t>(rows));
    training_.cross_entropy(rows_of(logits, rows), part(batch.targets), scale, row_losses);
    for (const float loss : row_losses) sum += loss;
    if (dx == nullptr) continue;
    training_.linear_backward(rows_of(normed, rows), {{head}}, {{rows_of(logits, rows)}}, {{&parameters_.of(*head)}},
                              rows_of(dnormed, rows));
    training_.fill_zero(rows_of(dlast, rows));
    training_.rms_norm_backward(rows_of(last, rows), model_.norm(), rows_of(dnormed, rows), rows_of(dlast, rows),
                                parameters_.of(model_.norm()));
    training_.scatter_add(rows_of(dlast, rows), positions, *dx);
  }
  return sum;
}

}  // namespace inkstone
