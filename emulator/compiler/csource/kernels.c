#include "kernels.h"

#include <math.h>
#include <string.h>

#define UNALIGNED(size, align) __attribute__((vector_size(size), aligned(align), may_alias))
typedef float v8f UNALIGNED(32, 4);
typedef uint16_t v8h UNALIGNED(16, 2);
typedef int8_t v8b UNALIGNED(8, 1);
typedef uint32_t v8u UNALIGNED(32, 4);
typedef int32_t v8i UNALIGNED(32, 4);

#define INLINE static inline __attribute__((always_inline))

/* One dot product runs over 32 lanes: four vectors of eight. */
struct lanes {
    v8f a, b, c, d;
};

INLINE float fold(const struct lanes *s)
{
    const v8f t = (s->a + s->b) + (s->c + s->d);
    return ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]));
}

INLINE float bits_to_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE v8f load_f32(const struct matrix *w, long at, float scale)
{
    (void)scale;
    return *(const v8f *)((const float *)w->data + at);
}

INLINE float value_f32(const struct matrix *w, long at, float scale)
{
    (void)scale;
    return ((const float *)w->data)[at];
}

INLINE v8f load_bf16(const struct matrix *w, long at, float scale)
{
    (void)scale;
    const v8h raw = *(const v8h *)((const uint16_t *)w->data + at);
    const v8u wide = __builtin_convertvector(raw, v8u) << 16;
    return (v8f)wide;
}

INLINE float value_bf16(const struct matrix *w, long at, float scale)
{
    (void)scale;
    return bits_to_float((uint32_t)((const uint16_t *)w->data)[at] << 16);
}

/* Exponent and mantissa moved into place, the bias mended by an exact
 * multiplication: right for normal and subnormal halves, not for inf and nan. */
#define HALF_BIAS 0x1p112f

INLINE v8f load_f16(const struct matrix *w, long at, float scale)
{
    (void)scale;
    const v8h raw = *(const v8h *)((const uint16_t *)w->data + at);
    const v8u wide = __builtin_convertvector(raw, v8u);
    const v8f magnitude = (v8f)((wide & 0x7fff) << 13) * HALF_BIAS;
    return (v8f)((v8u)magnitude | ((wide & 0x8000) << 16));
}

INLINE float value_f16(const struct matrix *w, long at, float scale)
{
    (void)scale;
    const uint32_t raw = ((const uint16_t *)w->data)[at];
    const float magnitude = bits_to_float((raw & 0x7fff) << 13) * HALF_BIAS;
    return (raw & 0x8000) ? -magnitude : magnitude;
}

INLINE v8f load_i8(const struct matrix *w, long at, float scale)
{
    /* In two steps: gcc takes the direct one apart into single values. */
    const v8b raw = *(const v8b *)((const int8_t *)w->data + at);
    return __builtin_convertvector(__builtin_convertvector(raw, v8i), v8f) * scale;
}

INLINE float value_i8(const struct matrix *w, long at, float scale)
{
    return (float)((const int8_t *)w->data)[at] * scale;
}

INLINE float scale_at(const struct matrix *w, long row, long col)
{
    if (w->dtype != DT_I8)
        return 1.0f;
    const long groups = (w->cols + QUANT_GROUP - 1) / QUANT_GROUP;
    return w->scale[row * groups + col / QUANT_GROUP];
}

/* The tail is padded with zeros to a whole block, so it takes the same lanes. */
#define ROW_KERNELS(NAME)                                                           \
    static float dot_##NAME(const float *x, const struct matrix *w, long row)       \
    {                                                                               \
        const long n = w->cols, base = row * n;                                     \
        struct lanes s = {{0}, {0}, {0}, {0}};                                      \
        long i = 0;                                                                 \
        for (; i + 32 <= n; i += 32) {                                              \
            const float scale = scale_at(w, row, i);                                \
            s.a += load_##NAME(w, base + i, scale) * *(const v8f *)(x + i);         \
            s.b += load_##NAME(w, base + i + 8, scale) * *(const v8f *)(x + i + 8); \
            s.c += load_##NAME(w, base + i + 16, scale) * *(const v8f *)(x + i + 16); \
            s.d += load_##NAME(w, base + i + 24, scale) * *(const v8f *)(x + i + 24); \
        }                                                                           \
        if (i < n) {                                                                \
            const float scale = scale_at(w, row, i);                                \
            float wt[32] = {0}, xt[32] = {0};                                       \
            for (long j = 0; i + j < n; j++) {                                      \
                wt[j] = value_##NAME(w, base + i + j, scale);                       \
                xt[j] = x[i + j];                                                   \
            }                                                                       \
            s.a += *(const v8f *)wt * *(const v8f *)xt;                             \
            s.b += *(const v8f *)(wt + 8) * *(const v8f *)(xt + 8);                 \
            s.c += *(const v8f *)(wt + 16) * *(const v8f *)(xt + 16);               \
            s.d += *(const v8f *)(wt + 24) * *(const v8f *)(xt + 24);               \
        }                                                                           \
        return fold(&s);                                                            \
    }                                                                               \
    static void linear_##NAME(float *out, const float *x, const struct matrix *w)   \
    {                                                                               \
        for (long row = 0; row < w->rows; row++)                                    \
            out[row] = dot_##NAME(x, w, row);                                       \
    }                                                                               \
    static void row_##NAME(float *out, const struct matrix *w, long row)            \
    {                                                                               \
        for (long i = 0; i < w->cols; i++)                                          \
            out[i] = value_##NAME(w, row * w->cols + i, scale_at(w, row, i));       \
    }

ROW_KERNELS(f32)
ROW_KERNELS(bf16)
ROW_KERNELS(f16)
ROW_KERNELS(i8)

float dot(const float *x, const float *y, int n)
{
    const struct matrix one = {y, 0, DT_F32, 1, n};
    return dot_f32(x, &one, 0);
}

void linear(float *out, const float *x, const struct matrix *w, const float *bias)
{
    switch (w->dtype) {
    case DT_BF16: linear_bf16(out, x, w); break;
    case DT_F16: linear_f16(out, x, w); break;
    case DT_F32: linear_f32(out, x, w); break;
    default: linear_i8(out, x, w); break;
    }
    if (bias)
        add(out, bias, w->rows);
}

void row_to_float(float *out, const struct matrix *w, int row)
{
    switch (w->dtype) {
    case DT_BF16: row_bf16(out, w, row); break;
    case DT_F16: row_f16(out, w, row); break;
    case DT_F32: row_f32(out, w, row); break;
    default: row_i8(out, w, row); break;
    }
}

void add(float *x, const float *y, int n)
{
    for (int i = 0; i < n; i++)
        x[i] += y[i];
}

void rmsnorm(float *out, const float *x, const float *weight, int n, float eps)
{
    const float shrink = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
    for (int i = 0; i < n; i++)
        out[i] = weight[i] * (x[i] * shrink);
}

void rotate(float *head, const float *cosine, const float *sine, int half)
{
    for (int i = 0; i < half; i++) {
        const float a = head[i], b = head[i + half];
        head[i] = a * cosine[i] - b * sine[i];
        head[i + half] = b * cosine[i] + a * sine[i];
    }
}

/* The C library's expf differs between hosts by a last bit; this one does not. */
INLINE float own_exp(float x)
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float scaled = x * 1.44269504088896341f;
    const int n = (int)(scaled + (scaled < 0.0f ? -0.5f : 0.5f));
    const float r = (x - (float)n * 0.693359375f) + (float)n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * bits_to_float((uint32_t)(n + 127) << 23);
}

void softmax(float *x, int n)
{
    float top = x[0], sum = 0.0f;
    for (int i = 1; i < n; i++)
        top = x[i] > top ? x[i] : top;
    for (int i = 0; i < n; i++)
        x[i] = own_exp(x[i] - top);
    for (int i = 0; i < n; i++)
        sum += x[i];
    for (int i = 0; i < n; i++)
        x[i] /= sum;
}

void gate_silu(float *gate, const float *up, int n)
{
    for (int i = 0; i < n; i++)
        gate[i] = gate[i] / (1.0f + own_exp(-gate[i])) * up[i];
}
