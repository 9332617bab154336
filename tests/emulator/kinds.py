"""One small model of every kind that the toolchain has code for, and the input they are all given."""

from tests.emulator.builders import LLAMA

INPUT = [3, 250, 17, 17, 99, 0, 271, 42, 8, 130] * 8
POSITIONS = [0, 40, 79]
"""Where their logits are recorded: with no context, some, and more than the texts before any stretching had."""
STRETCHED = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
KINDS = {
    "grouped heads": {},
    "one kv head, odd sizes": {
        "hidden_size": 80, "intermediate_size": 200, "num_attention_heads": 5, "num_key_value_heads": 1,
    },
    "tied, half precision": {"dtype": "F16", "tie_word_embeddings": True},
    "own head size, full precision": {
        "dtype": "F32", "hidden_size": 96, "intermediate_size": 264, "num_attention_heads": 6, "head_dim": 20,
        "rope_theta": 1e6,
    },
    "llama, stretched as llama 3": {"like": LLAMA, "rope_scaling": STRETCHED, "tie_word_embeddings": True},
    "llama, stretched by a factor, biases, own head size": {
        "like": LLAMA, "rope_scaling": {"type": "linear", "factor": 2.0}, "attention_bias": True, "mlp_bias": True,
        "head_dim": 12,
    },
    "llama, ungrouped, half precision, in shards": {
        "like": LLAMA, "dtype": "F16", "num_key_value_heads": 4, "shards": 3,
    },
}  # fmt: skip
