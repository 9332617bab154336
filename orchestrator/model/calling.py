"""How a spec is run: as the release's profile says, or, where the program is our own, the same way on every release."""

from typing import cast

from orchestrator.model.answer_rules import JsonAnswers
from orchestrator.model.profile import DefaultLimits, KindProfile, OutputRule, Profile, ProfileKind
from orchestrator.model.specs import Spec, profile_kind


class OwnProgram(KindProfile):
    """How a program of ours is run: on the host itself, whatever the launcher of the release."""

    conda: str = ""
    environment: dict[str, str]
    """All it gets, in place of what the vendor's tools get."""


LOAD_CLIENT = OwnProgram(
    cwd="{work}/run",
    # -P: what lies in the current folder is never imported.
    argv=(
        "{python}", "-P", "-m", "workers.load", "--url", "{url}", "--host={authority}", "--model={served_id}",
        "--prompts", "{prompts}", "--out", "{out}", "--max-tokens", "{max_tokens}", "--repeats", "{repeats}",
        "--load", "{load}",
    ),
    environment={
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "{work}", "LANG": "C.UTF-8", "PYTHONPATH": "{code}",
        "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
    },
    outputs={
        "answers": OutputRule(search="{out}", glob="answers.jsonl", kind="file"),
        "times": OutputRule(search="{out}", glob="times.jsonl", kind="file"),
        "metrics": OutputRule(search="{out}", glob="metrics.json", kind="file"),
    },
    answers=JsonAnswers(
        glob="answers.jsonl", repeat="round", index="question_index", question="question", text="response",
        prompt_tokens="prompt_tokens", output_tokens="output_tokens", seconds="seconds", ttft_seconds="ttft_seconds",
        finish_reason="finish_reason",
    ),
    progress=r"request (?P<done>\d+)/(?P<total>\d+)",
    limits=DefaultLimits(run_seconds=14_400, silence_seconds=1800),
)  # fmt: skip
"""Our own load client, `python -m workers.load`. Nothing of it depends on the vendor's tools."""


GOLDEN = OwnProgram(
    cwd="{work}/run",
    argv=(
        "{golden_python}", "-I", "{reference}", "--model", "{model}", "--prompts", "{prompts}",
        "--out", "{out}/golden.jsonl", "--max-tokens", "{max_tokens}", "--dtype", "{dtype}", "--device", "{device}",
    ),
    environment={
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "{work}", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    },
    model_config_file="official",
    outputs={"golden": OutputRule(search="{out}", glob="golden.jsonl", kind="file")},
    progress=r"question (?P<done>\d+)/(?P<total>\d+)",
    limits=DefaultLimits(run_seconds=86_400, silence_seconds=7200),
)  # fmt: skip
"""Reference answers with transformers. An answer of 8192 tokens may take a CPU an hour, and nothing is printed
meanwhile."""

_OWN = {"client_load": LOAD_CLIENT, "golden": GOLDEN}
"""By what they would be called in a profile."""


def how_to_run(profile: Profile, spec: Spec) -> KindProfile | None:
    """What says how a spec is run; None if the release does not run such jobs."""
    name = profile_kind(spec)
    return _OWN.get(name) or profile.kinds.get(cast(ProfileKind, name))
