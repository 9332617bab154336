"""What lies in a folder and is no part of it."""

import pytest

from orchestrator.model.bystanders import is_bystander


@pytest.mark.parametrize(
    "path",
    [
        ".git/index", "sub/.git/config", ".gitattributes", ".cache/huggingface/download/model.safetensors.metadata",
        ".huggingface/x", "model.safetensors.lock", ".DS_Store", "sub/.DS_Store", "._model.safetensors", "sub/._x",
        "__MACOSX/._config.json", ".ipynb_checkpoints/a-checkpoint.ipynb", "config.json~", ".config.json.swp",
        "#config.json#", ".#config.json", "tokenizer.json.orig", "tokenizer.json.bak", ".nfs0000000000a1b2c3",
    ],
)  # fmt: skip
def test_what_no_tool_reads_is_a_bystander(path: str):
    assert is_bystander(path)


@pytest.mark.parametrize(
    "path",
    [
        "model.safetensors", "model-00001-of-00002.safetensors", "tokenizer.json", "vocab.txt", "model.gm",
        "kcore.bin", "chip0/tile0/kcore_fw.bin", "README.md", "LICENSE", "git/x", "cache/x", "a.git", "_model", ".env",
        "chat_template.jinja", "modeling_qwen.py", "Makefile", "block.c", "model.safetensors.index.json", "#1",
    ],
)  # fmt: skip
def test_what_a_tool_may_read_is_none(path: str):
    assert not is_bystander(path)
