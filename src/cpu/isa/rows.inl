// Elementwise kernels and norms, one row at a time.
constexpr int kLanes = F32::kLanes;

// e^x to about 2 ulp: x = n ln 2 + r, |r| <= ln 2 / 2, a polynomial of degree 6 for e^r (Cephes' coefficients), times
// 2^n. 0 below -110 (AVX2: -88), infinity above 89. NaN stays NaN: max and min give their second operand then.
F32 exp(F32 x) {
  x = min(F32::all(89.0f), max(F32::all(-110.0f), x));
  const F32 n = round(x * F32::all(1.44269504f));
  F32 r = fnma(n, F32::all(0.693359375f), x);
  r = fnma(n, F32::all(-2.12194440e-4f), r);
  F32 p = fma(F32::all(1.9875691500e-4f), r, F32::all(1.3981999507e-3f));
  p = fma(p, r, F32::all(8.3334519073e-3f));
  p = fma(p, r, F32::all(4.1665795894e-2f));
  p = fma(p, r, F32::all(1.6666665459e-1f));
  p = fma(p, r, F32::all(5.0000001201e-1f));
  p = fma(p, r * r, r + F32::all(1.0f));
  return scale_by_power(p, n);
}

// 1 / sqrt(mean(x^2) + eps)
float inverse_rms(const float* x, float eps, int64_t n) {
  F32 a = F32::zero(), b = F32::zero();
  for (int64_t i = 0; i < n; i += 2 * kLanes) {
    const F32 u = F32::load(x + i, n - i), w = n - i > kLanes ? F32::load(x + i + kLanes, n - i - kLanes) : F32::zero();
    a = fma(u, u, a);
    b = fma(w, w, b);
  }
  return 1.0f / sqrt_f32(reduce_add(a + b) / static_cast<float>(n) + eps);
}

void rms_norm(const float* x, const float* weight, float eps, float* y, int64_t n) {
  const F32 scale = F32::all(inverse_rms(x, eps, n));
  for (int64_t i = 0; i < n; i += kLanes)
    (F32::load(x + i, n - i) * scale * F32::load(weight + i, n - i)).store(y + i, n - i);
}

void norm_rope(float* x, int heads, int d, const float* weight, float eps, const float* table) {
  const int half = d / 2;
  for (int h = 0; h < heads; ++h, x += d) {
    const F32 scale = F32::all(inverse_rms(x, eps, d));
    for (int i = 0; i < half; i += kLanes) {
      const int n = half - i;
      const F32 a = F32::load(x + i, n) * scale * F32::load(weight + i, n);
      const F32 b = F32::load(x + half + i, n) * scale * F32::load(weight + half + i, n);
      const F32 cosine = F32::load(table + i, n), sine = F32::load(table + half + i, n);
      fnma(b, sine, a * cosine).store(x + i, n);
      fma(a, sine, b * cosine).store(x + half + i, n);
    }
  }
}

void swiglu(const float* gate, const float* up, float* out, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const F32 g = F32::load(gate + i, n - i);
    (g / (F32::all(1.0f) + exp(F32::zero() - g)) * F32::load(up + i, n - i)).store(out + i, n - i);
  }
}

void softmax(float* x, int64_t n) {
  F32 best = F32::all(x[0]);
  for (int64_t i = 0; i < n; i += kLanes) best = max(best, first(F32::load(x + i, n - i), best, n - i));
  const F32 top = F32::all(reduce_max(best));
  F32 sum = F32::zero();
  for (int64_t i = 0; i < n; i += kLanes) {
    const F32 p = first(exp(F32::load(x + i, n - i) - top), F32::zero(), n - i);
    p.store(x + i, n - i);
    sum = sum + p;
  }
  const F32 total = F32::all(reduce_add(sum));
  for (int64_t i = 0; i < n; i += kLanes) (F32::load(x + i, n - i) / total).store(x + i, n - i);
}

void add_scaled(const float* x, float scale, float* y, int64_t n) {
  const F32 s = F32::all(scale);
  for (int64_t i = 0; i < n; i += kLanes) fma(F32::load(x + i, n - i), s, F32::load(y + i, n - i)).store(y + i, n - i);
}

void multiply(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) (F32::load(x + i, n - i) * F32::load(y + i, n - i)).store(y + i, n - i);
}

void to_bf16(const float* x, uint16_t* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) store_bf16(F32::load(x + i, n - i), y + i, n - i);
}
