"""`tx81 releases learn` without a job; with one, see tests/scenarios/test_trust.py."""

import json

import yaml

OTHERS_WITH_HELP = (
    "convert", "infer", "serve", "client_chat", "client_completion_llama", "client_chat_processes",
    "client_completion_llama_processes",
)  # fmt: skip


def test_what_a_profile_should_say_otherwise_is_printed_and_changes_nothing(tx81, at_site, tmp_path, monkeypatch):
    monkeypatch.setenv("TX81_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TX81_DEVICES_DIR", at_site.tools["cards"])
    argv = ["tx8-quant", "-mp", "{model}", "--precision", "8", "-dtype", "{dtype}", "-s", "{out}"]
    kinds = {kind: {"help": []} for kind in OTHERS_WITH_HELP} | {"quantize": {"argv": argv}}
    profile = {"extends": "txnn_1.2.1_build0307", "kinds": kinds}
    (tmp_path / "odd.yaml").write_text(json.dumps(profile))
    assert tx81("releases", "add", "odd", tmp_path / "odd.yaml", at_site.tools["home"]).code == 0

    ran = tx81("releases", "learn", "odd")

    assert ran.code == 0, ran.err
    assert "# telemetry: tsm_smi -i 0 reads 41 celsius" in ran.out
    assert yaml.safe_load(ran.out)["kinds"] == {"quantize": {"argv": [*argv[:3], *argv[5:]]}}
    assert tx81("releases", "show", "odd", "-o", "json").document["checks"] == []
    assert tx81("releases", "learn", "odd", "--job", "1", "--submit", "x.yaml").code == 2
