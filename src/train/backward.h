// Backward: the loss of a model on whole sequences and its gradients, by hand: a forward pass that keeps what each
// layer's gradient needs (its tape), then the layers again from the last to the first that learns. With `recompute`
// only the input of each layer is kept and its tape made anew on the way back: a third more work, a fraction of the
// memory.
#pragma once

#include "model/qwen3.h"
#include "train/parameters.h"
#include "train/train_batch.h"

namespace inkstone {

class Backward {
 public:
  // All three must outlive it.
  Backward(Qwen3& model, Parameters& parameters, bool recompute);
  ~Backward();

  // The sum of the targets' cross entropies, in nats.
  double loss(const TrainBatch& batch);
  // The same, and adds the gradient of scale * loss to the parameters'.
  double accumulate(const TrainBatch& batch, float scale);

 private:
  struct Tape;
  struct Scratch;

  void resize(const TrainBatch& batch, bool keep);
  void forward(const TrainBatch& batch, bool keep);
  void add_attention(int i, const Tensor& x, const Tape& tape);
  void forward_layer(int i, const TrainBatch& batch, const Tensor& x, Tape& tape, const Tensor& out);
  void backward_layer(int i, const TrainBatch& batch, const Tensor& x, Tape& tape, const Tensor& dx);
  void backward_mlp(int i, Tape& tape, const Tensor& dx);
  double head(const TrainBatch& batch, const Tensor& x, const Tensor* dx, float scale);
  Tape& tape_of(int i);

  Qwen3& model_;
  Parameters& parameters_;
  Device& device_;
  TrainingDevice& training_;
  const bool recompute_;
  std::vector<Tape> tapes_;  // one a layer that learns; one in all with recompute_
  std::vector<Tensor> xs_;   // the input of each layer that learns, then the last one's output
  std::unique_ptr<Scratch> scratch_;
  Buffer memory_;
  Buffer logits_memory_;
};

}  // namespace inkstone
