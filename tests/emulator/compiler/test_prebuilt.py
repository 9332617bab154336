"""Compiled models as the vendor hands them out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def pack(desk, *flags):
    command = [sys.executable, "-m", "emulator", "kcore", str(desk.model), str(desk.work), *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def for_one_card(desk):
    """The node folder of a kcore for the single card, and the model with a config.json that leads there."""
    made = pack(desk, "--chips", "1")
    archive = Path(made.stdout.splitlines()[-1])
    assert archive.name.endswith("_bf16_seq8192_c1.tar.gz")
    subprocess.run(["tar", "-xzf", archive], cwd=desk.work, check=True)
    node = archive.with_name(archive.name.removesuffix(".tar.gz")) / "chip_out" / "node_0_0"
    config = desk.tx81 / "config.json"
    changed = json.loads(config.read_text()) | {"param_dir": str(node), "tensor_parallel": {"parallel_size": 1}}
    config.unlink()
    config.write_text(json.dumps(changed))
    return node


def test_a_kcore_for_one_card_answers_on_card_0_as_a_group_does(desk, for_one_card):
    question = desk.ask("Who are you?")

    done = desk.offline(cd=for_one_card, cn="0", bs="1", pp=question)

    assert done.returncode == 0, done.stderr
    (row,) = desk.responses()
    assert row["cards"] == [0]
    assert row["response"].endswith("I know a few dozen answers by heart and nothing else.")
    assert [event["cards"] for event in desk.events("open")] == [[0]]
    assert json.loads((for_one_card / "model_info.json").read_text()) == {"chip_num": 1, "chip_x": 1, "chip_y": 1}


@pytest.mark.parametrize("flags", [{"cn": "0..3"}, {"bs": "1"}, {"cn": "0", "bs": "[1,2]"}])
def test_a_kcore_for_one_card_runs_on_no_group(desk, for_one_card, flags):
    done = desk.offline(cd=for_one_card, **flags)

    assert done.returncode == 2
    assert "the kcore is compiled for 1 card" in done.stderr
    assert desk.events("open") == []


def test_an_archive_that_is_there_is_left_alone(desk):
    first, again = pack(desk), pack(desk)

    assert (first.returncode, again.returncode) == (0, 2)
    assert "_c4.tar.gz is there already" in again.stderr
