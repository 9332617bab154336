#include "node.h"

#include <math.h>

#define KV_DIM (KV_HEADS * HEAD_DIM)

float *key_row(struct session *s, int layer, int position)
{
    return s->keys + ((long)layer * MAX_SEQUENCE + position) * KV_DIM;
}

float *value_row(struct session *s, int layer, int position)
{
    return s->values + ((long)layer * MAX_SEQUENCE + position) * KV_DIM;
}

static void attend(struct session *s, int layer, int head)
{
    const int offset = head / (HEADS / KV_HEADS) * HEAD_DIM;
    const float *query = s->query + head * HEAD_DIM;
    float *mixed = s->mixed + head * HEAD_DIM;
    const float shrink = 1.0f / sqrtf((float)HEAD_DIM);

    for (int t = 0; t <= s->position; t++)
        s->scores[t] = dot(query, key_row(s, layer, t) + offset, HEAD_DIM) * shrink;
    softmax(s->scores, s->position + 1);
    for (int i = 0; i < HEAD_DIM; i++)
        mixed[i] = 0.0f;
    for (int t = 0; t <= s->position; t++) {
        const float *value = value_row(s, layer, t) + offset;
        for (int i = 0; i < HEAD_DIM; i++)
            mixed[i] += s->scores[t] * value[i];
    }
}

void attention(struct session *s, int layer)
{
    float *key = key_row(s, layer, s->position);
    for (int head = 0; head < KV_HEADS; head++)
        rotate(key + head * HEAD_DIM, s->cosine, s->sine, HEAD_DIM / 2);
    for (int head = 0; head < HEADS; head++) {
        rotate(s->query + head * HEAD_DIM, s->cosine, s->sine, HEAD_DIM / 2);
        attend(s, layer, head);
    }
}
