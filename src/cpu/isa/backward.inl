// Gradients of the elementwise kernels and norms, one row at a time, and the optimiser's step.

// y = x r w with r = 1 / sqrt(mean(x^2) + eps): dx += r (w dy - x r^2 mean(w dy x)). Returns r.
float rms_norm_backward(const float* x, const float* weight, float eps, const float* dy, float* dx, int64_t n) {
  const float scale = inverse_rms(x, eps, n);
  F32 sum = F32::zero();
  for (int64_t i = 0; i < n; i += kLanes)
    sum = fma(F32::load(weight + i, n - i) * F32::load(dy + i, n - i), F32::load(x + i, n - i), sum);
  const F32 r = F32::all(scale), shrink = F32::all(scale * scale * reduce_add(sum) / static_cast<float>(n));
  for (int64_t i = 0; i < n; i += kLanes) {
    const F32 slope = fnma(F32::load(x + i, n - i), shrink, F32::load(weight + i, n - i) * F32::load(dy + i, n - i));
    fma(slope, r, F32::load(dx + i, n - i)).store(dx + i, n - i);
  }
  return scale;
}

void rotate_back(float* x, int heads, int d, const float* table) {
  const int half = d / 2;
  for (int h = 0; h < heads; ++h, x += d) {
    for (int i = 0; i < half; i += kLanes) {
      const int n = half - i;
      const F32 a = F32::load(x + i, n), b = F32::load(x + half + i, n);
      const F32 cosine = F32::load(table + i, n), sine = F32::load(table + half + i, n);
      fma(b, sine, a * cosine).store(x + i, n);
      fnma(a, sine, b * cosine).store(x + half + i, n);
    }
  }
}

// With s = sigmoid(gate): dup = dy gate s, dgate = dy up s (1 + gate (1 - s)).
void swiglu_backward(const float* gate, const float* up, const float* dy, float* dgate, float* dup, int64_t n) {
  const F32 one = F32::all(1.0f);
  for (int64_t i = 0; i < n; i += kLanes) {
    const F32 g = F32::load(gate + i, n - i), u = F32::load(up + i, n - i), d = F32::load(dy + i, n - i);
    const F32 s = one / (one + exp(F32::zero() - g));
    (d * g * s).store(dup + i, n - i);
    (d * u * s * fma(g, one - s, one)).store(dgate + i, n - i);
  }
}

void add_product(const float* x, const float* y, float scale, float* out, int64_t n) {
  const F32 s = F32::all(scale);
  for (int64_t i = 0; i < n; i += kLanes)
    fma(F32::load(x + i, n - i) * F32::load(y + i, n - i), s, F32::load(out + i, n - i)).store(out + i, n - i);
}

void adam(const AdamArgs& a) {
  const F32 beta1 = F32::all(a.beta1), beta2 = F32::all(a.beta2), scale = F32::all(a.gradient_scale);
  const F32 rest1 = F32::all(1.0f - a.beta1), rest2 = F32::all(1.0f - a.beta2);
  const F32 keep = F32::all(a.keep), rate = F32::all(a.rate), root = F32::all(a.root_scale), eps = F32::all(a.eps);
  for (int64_t i = 0; i < a.n; i += kLanes) {
    const int64_t left = a.n - i;
    const F32 g = F32::load(a.gradient + i, left) * scale;
    const F32 m = fma(F32::load(a.mean + i, left), beta1, g * rest1);
    const F32 v = fma(F32::load(a.square + i, left), beta2, g * g * rest2);
    m.store(a.mean + i, left);
    v.store(a.square + i, left);
    const F32 step = m * rate / fma(sqrt(v), root, eps);
    (F32::load(a.value + i, left) * keep - step).store(a.value + i, left);
  }
}
