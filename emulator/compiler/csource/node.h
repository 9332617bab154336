/* What one card group holds while it works on one conversation. */
#ifndef NODE_H
#define NODE_H

#include "kernels.h"
#include "model.h"

struct tensor {
    struct matrix matrix;
    float *vector; /* one-dimensional tensors, widened once */
};

struct session {
    struct tensor *weights;
    int position;
    float hidden[HIDDEN], normed[HIDDEN], projected[HIDDEN];
    float query[HEADS * HEAD_DIM], mixed[HEADS * HEAD_DIM];
    float gate[INTERMEDIATE], up[INTERMEDIATE];
    float cosine[HEAD_DIM / 2], sine[HEAD_DIM / 2];
    float scores[MAX_SEQUENCE];
    float *keys, *values; /* LAYERS x MAX_SEQUENCE x KV_DIM; untouched pages cost nothing */
};

typedef void layer_function(struct session *);
extern layer_function *const layer_table[LAYERS];

float *key_row(struct session *s, int layer, int position);
float *value_row(struct session *s, int layer, int position);
void attention(struct session *s, int layer);

#endif
