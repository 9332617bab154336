"""One layer of a decoder, written out in C."""

from emulator.models.config import Dimensions
from emulator.models.decoder import MODULES

_LAYER = """\
static void layer_{n}(struct session *s)
{{
    struct tensor *w = s->weights;
    rmsnorm(s->normed, s->hidden, w[L{n}_INPUT_NORM].vector, HIDDEN, NORM_EPSILON);
    linear(s->query, s->normed, &w[L{n}_Q].matrix, {Q});
    linear(key_row(s, {n}, s->position), s->normed, &w[L{n}_K].matrix, {K});
    linear(value_row(s, {n}, s->position), s->normed, &w[L{n}_V].matrix, {V});
    attention(s, {n});
    linear(s->projected, s->mixed, &w[L{n}_O].matrix, {O});
    add(s->hidden, s->projected, HIDDEN);

    rmsnorm(s->normed, s->hidden, w[L{n}_POST_NORM].vector, HIDDEN, NORM_EPSILON);
    linear(s->gate, s->normed, &w[L{n}_GATE].matrix, {GATE});
    linear(s->up, s->normed, &w[L{n}_UP].matrix, {UP});
    gate_silu(s->gate, s->up, INTERMEDIATE);
    linear(s->projected, s->gate, &w[L{n}_DOWN].matrix, {DOWN});
    add(s->hidden, s->projected, HIDDEN);
}}

"""


def layer_source(dims: Dimensions, layer: int) -> str:
    """One transformer layer as a C function."""
    biases = {symbol: f"w[L{layer}_{symbol}_BIAS].vector" if symbol in dims.biases else "NULL" for symbol in MODULES}
    return _LAYER.format(n=layer, **biases)


def empty_layer(layer: int) -> str:
    """The layer of a converter that went wrong without noticing."""
    return f"static void layer_{layer}(struct session *s)\n{{\n    (void)s;\n}}\n\n"
