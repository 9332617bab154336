/* Arithmetic of one node. Every sum has one fixed order, so that any compiler,
 * vector width and host gives the same bits (build with -ffp-contract=off). */
#ifndef KERNELS_H
#define KERNELS_H

#include <stdint.h>

enum dtype { DT_BF16, DT_F16, DT_F32, DT_I8 };

/* Values in one int8 group share one scale; the last group of a row may be short. */
#define QUANT_GROUP 32

struct matrix {
    const void *data;
    const float *scale; /* only for DT_I8: rows x ceil(cols / QUANT_GROUP) */
    int dtype, rows, cols;
};

float dot(const float *x, const float *y, int n);
void linear(float *out, const float *x, const struct matrix *w, const float *bias);
void row_to_float(float *out, const struct matrix *w, int row);
void rmsnorm(float *out, const float *x, const float *weight, int n, float eps);
void rotate(float *head, const float *cosine, const float *sine, int half);
void softmax(float *x, int n);
void gate_silu(float *gate, const float *up, int n);
void add(float *x, const float *y, int n);

#endif
