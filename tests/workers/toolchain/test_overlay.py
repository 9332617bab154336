"""The model folder of one attempt."""

from pathlib import Path

import pytest

from orchestrator.errors import BadSpec
from workers.toolchain.commands import ModelOverlay
from workers.toolchain.overlay import lay_model


def test_a_tool_does_not_see_what_is_no_part_of_the_model(tmp_path: Path):
    for name in ("model.safetensors", "._model.safetensors", ".git/index", "sub/.DS_Store", "sub/vocab.txt"):
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text(name)

    lay_model(ModelOverlay(tmp_path / "model", tmp_path / "laid", {"model_type": "qwen2"}, tmp_path / "model"))

    found = {str(path.relative_to(tmp_path / "laid")) for path in (tmp_path / "laid").rglob("*")}
    assert found == {"config.json", "model.safetensors", "sub", "sub/vocab.txt"}


@pytest.mark.parametrize("config", [{"a": "\ud800"}, {"a": "\0"}, {"a": float("nan")}], ids=["surrogate", "nul", "nan"])
def test_a_config_that_no_file_can_hold_is_the_models_fault_and_not_the_hosts(tmp_path: Path, config: dict):
    (tmp_path / "model").mkdir()

    with pytest.raises(BadSpec, match=r"the model's config\.json cannot be used"):
        lay_model(ModelOverlay(tmp_path / "model", tmp_path / "laid", config, tmp_path / "model"))
