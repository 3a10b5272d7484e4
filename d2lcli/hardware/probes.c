/* What Python is too slow to measure: chains of dependent loads and of multiply-adds, and the STREAM kernels. */

#include <stddef.h>
#include <stdint.h>

/* Follow `next` for so many steps.  Each load needs the one before it, so that their latencies add up. */
uint64_t chase(const uint64_t *next, uint64_t start, size_t steps) {
  uint64_t place = start;
  for (size_t step = 0; step < steps; ++step) place = next[place];
  return place;
}

/* 12 vectors of `WIDTH` numbers, each multiplied and added to `steps` times: 24 * WIDTH * steps operations. */
#ifdef __AVX512F__
#define WIDTH 16
#else
#define WIDTH 8
#endif
typedef float vector __attribute__((vector_size(4 * WIDTH)));
#define EACH(do) do(0) do(1) do(2) do(3) do(4) do(5) do(6) do(7) do(8) do(9) do(10) do(11)
#define MAKE(i) vector v##i = scale + (float)i;
#define STEP(i) v##i = v##i * scale + shift;
#define ADD(i) sum += v##i;

int width(void) { return WIDTH; }

float multiply_add(size_t steps, float a, float b) {
  vector scale = {0}, shift = {0}, sum = {0};
  scale += a;
  shift += b;
  EACH(MAKE)
  for (size_t step = 0; step < steps; ++step) { EACH(STEP) }
  EACH(ADD)
  return sum[0];
}

/* a = b + s c: the triad of STREAM (McCalpin, 1995). */
void triad(float *restrict a, const float *restrict b, const float *restrict c, float s, size_t size) {
  for (size_t i = 0; i < size; ++i) a[i] = b[i] + s * c[i];
}
