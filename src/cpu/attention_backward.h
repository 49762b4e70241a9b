// Gradients of causal attention within whole sequences, in float32. Scores are computed again, a block of queries at a
// time, so memory grows with the length and not with its square. With S = scale Q K^T, P = softmax(S), O = P V:
//     dV = P^T dO, dP = dO V^T, dS = P (dP - rowsum(dO O)), dQ = scale dS K, dK = scale dS^T Q
// (Dao et al. 2022, arXiv:2205.14135, appendix B.2). One thread has a KV head of a sequence with all of its queries.
#pragma once

#include <span>

#include "cpu/context.h"

namespace inkstone {

struct AttentionGradient {
  const float* q;     // [T, H * d]
  const float* k;     // [T, K * d]
  const float* v;     // [T, K * d]
  const float* out;   // [T, H * d]
  const float* dout;  // [T, H * d]
  int heads, kv_heads, d;
  float scale;
  float* dq;
  float* dk;
  float* dv;
};

void attend_backward(Context& context, std::span<const Span> spans, const AttentionGradient& a);

}  // namespace inkstone
