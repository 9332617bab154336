/* The five entry points of kcore.bin. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "manifest.h"
#include "node.h"
#include "weights.h"

#ifndef KCORE_MARCH
#define KCORE_MARCH "generic"
#endif

/* Answers below zero, from kcore_forward. */
enum { BAD_TOKEN = -1, CONTEXT_FULL = -2, NOT_A_NUMBER = -3 };

const char *kcore_manifest(void)
{
    return (const char *)manifest_text;
}

const char *kcore_march(void)
{
    return KCORE_MARCH;
}

void kcore_close(struct session *s)
{
    if (!s)
        return;
    for (int i = 0; s->weights && i < TENSORS; i++)
        free(s->weights[i].vector);
    free(s->weights);
    free(s->keys);
    free(s->values);
    free(s);
}

static int bind(struct tensor *t, const struct tensor_shape *shape, const void *data, const float *scale)
{
    t->matrix = (struct matrix){data, scale, shape->dtype, shape->rows, shape->cols};
    if (!shape->is_vector)
        return 1;
    t->vector = malloc(sizeof(float) * (size_t)shape->cols);
    if (t->vector)
        row_to_float(t->vector, &t->matrix, 0);
    return t->vector != NULL;
}

struct session *kcore_open(const void *const *data, const float *const *scale, int count)
{
    const size_t cache = (size_t)LAYERS * MAX_SEQUENCE * KV_HEADS * HEAD_DIM;
    struct session *s = count == TENSORS ? calloc(1, sizeof *s) : NULL;
    if (!s)
        return NULL;
    s->weights = calloc(TENSORS, sizeof *s->weights);
    s->keys = calloc(cache, sizeof(float));
    s->values = calloc(cache, sizeof(float));
    int whole = s->weights && s->keys && s->values;
    for (int i = 0; whole && i < TENSORS; i++)
        whole = bind(&s->weights[i], &tensor_table[i], data[i], scale[i]);
    if (whole)
        return s;
    kcore_close(s);
    return NULL;
}

static void one_token(struct session *s, int token)
{
    row_to_float(s->hidden, &s->weights[EMBEDDING].matrix, token);
    for (int i = 0; i < HEAD_DIM / 2; i++) {
        const float angle = (float)s->position * inverse_frequency[i];
        s->cosine[i] = (float)cos((double)angle);
        s->sine[i] = (float)sin((double)angle);
    }
    for (int layer = 0; layer < LAYERS; layer++)
        layer_table[layer](s);
    s->position++;
}

static int best(const float *logits)
{
    int top = 0;
    for (int i = 0; i < VOCABULARY; i++) {
        if (!(logits[i] - logits[i] == 0.0f))
            return NOT_A_NUMBER;
        if (logits[i] > logits[top])
            top = i;
    }
    return top;
}

/* Read `count` tokens from position `start` on; the token that follows, or a code below zero.
 * `logits` (VOCABULARY floats) is filled for the last one. */
int kcore_forward(struct session *s, const int32_t *tokens, int count, int start, float *logits)
{
    if (start < 0 || count < 1 || start > s->position || count > MAX_SEQUENCE - start)
        return CONTEXT_FULL;
    for (int i = 0; i < count; i++)
        if (tokens[i] < 0 || tokens[i] >= VOCABULARY)
            return BAD_TOKEN;
    s->position = start;
    for (int i = 0; i < count; i++)
        one_token(s, tokens[i]);
    rmsnorm(s->normed, s->hidden, s->weights[FINAL_NORM].vector, HIDDEN, NORM_EPSILON);
    linear(logits, s->normed, &s->weights[OUTPUT_HEAD].matrix, NULL);
    return best(logits);
}
