// The arithmetic of a processor that we know no instructions of: what the compiler makes of 12 independent chains.
#include <stdint.h>

#include "cpu/kernels.h"

namespace inkstone {
namespace {

typedef float Vector __attribute__((vector_size(16)));

void plain_f32(int64_t rounds) {
  Vector a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{}, i{}, j{}, k{}, l{};
  const Vector shrink = {0.999f, 0.999f, 0.999f, 0.999f}, grow = {0.001f, 0.001f, 0.001f, 0.001f};
  for (; rounds > 0; --rounds) {
    a = a * shrink + grow, b = b * shrink + grow, c = c * shrink + grow, d = d * shrink + grow;
    e = e * shrink + grow, f = f * shrink + grow, g = g * shrink + grow, h = h * shrink + grow;
    i = i * shrink + grow, j = j * shrink + grow, k = k * shrink + grow, l = l * shrink + grow;
    asm volatile("" ::: "memory");  // rounds are not to be merged
  }
  const Vector sum = ((a + b) + (c + d)) + ((e + f) + (g + h)) + ((i + j) + (k + l));
  [[maybe_unused]] volatile float used = sum[0];
}

constexpr Peak kTable[] = {
    {.name = "f32", .isa = "scalar", .feature = "", .operations = 12 * 2 * 4, .run = plain_f32},
};

}  // namespace

extern const PeakTable kPeaks = {kTable, 1};

}  // namespace inkstone
