"""What was made elsewhere, taken in from the command line."""

import json
import tarfile
from pathlib import Path

ARCHIVE = "deepseek_7b_bf16_seq8192_c4"


def a_kcore(folder: Path) -> Path:
    node = folder / ARCHIVE / "chip_out" / "node_0_0"
    node.mkdir(parents=True)
    (node / "kcore.bin").write_bytes(b"kernel")
    (node / "model_info.json").write_text(json.dumps({"chip_num": 4}))
    return folder / ARCHIVE


def test_a_sent_kernel_image_is_an_artifact_that_jobs_can_name(tx81, at_site, tmp_path):
    with tarfile.open(tmp_path / "kcore.tar.gz", "w:gz") as opened:
        opened.add(a_kcore(tmp_path), ARCHIVE)

    made = tx81("artifacts", "import-kcore", tmp_path / "kcore.tar.gz", "--model", "tiny", "--output", "json")

    facts = made.document["facts"]
    assert facts == {"chips": 4, "precision": "bf16", "sequence": 8192, "model": "tiny"}
    spec = {"kind": "infer", "model": "tiny", "kcore": {"digest": made.document["digest"]}, "max_tokens": 8}
    Path("infer.json").write_text(json.dumps({"spec": {**spec, "prompts": {"path": at_site.tools["prompts"]}}}))
    assert tx81("submit", "infer.json").code == 0


def test_a_folder_on_the_server_is_taken_in_and_one_without_a_kernel_image_is_one_line(tx81, at_site):
    home = Path(at_site.tools["home"])

    taken = tx81("artifacts", "import-kcore", f"server:{a_kcore(home / 'kcores')}")
    refused = tx81("artifacts", "import-kcore", f"server:{home / 'miniconda'}")

    assert (taken.code, refused.code) == (0, 5)
    assert ARCHIVE in taken.out
    assert "there is no kernel image in it" in refused.err


def test_golden_answers_are_taken_in_and_a_wrong_line_is_named(tx81, at_site):
    tools = at_site.tools
    short = Path(tools["home"]) / "short.txt"
    short.write_text("one\ntwo\n")

    taken = tx81(
        "golden", "import", tools["golden"], "--prompts", tools["prompts"], "--model", "tiny", "--output", "json"
    )
    refused = tx81("golden", "import", short, "--prompts", tools["prompts"])

    assert taken.document["name"] == "golden"
    assert taken.document["facts"]["model"] == "tiny"
    assert refused.code == 5
    assert "after line 2 the answer to" in refused.err


def test_golden_answers_come_from_a_file_or_from_a_job(tx81, at_site):
    assert "give either a file of answers or --job" in tx81("golden", "import").err
    assert "--prompts: required with a file" in tx81("golden", "import", "answers.txt").err
    assert (
        "FILE: answers.txt cannot be read"
        in tx81("golden", "import", "answers.txt", "--prompts", at_site.tools["prompts"]).err
    )
    assert "there is no job 999999" in tx81("golden", "import", "--job", "999999").err
