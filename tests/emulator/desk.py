"""An engineer's terminal in front of one emulated host: types commands, reads what comes back."""

import json
import os
import signal
import subprocess
from pathlib import Path

BF16 = "deepseek_qwen2_7b_bf16_28b_c4_2"
INT8 = "deepseek_qwen2_7b_quant_28b_c4_2"


class Desk:
    """One installed tree; `places` is what installing it printed."""

    def __init__(self, places, work):
        self.places = {name: Path(path) for name, path in places.items()}
        self.home, self.model = self.places["home"], self.places["model"]
        self.tx81 = self.model.with_name(self.model.name + "-TX81")
        self.work = work

    def node(self, folder=BF16):
        return self.places["toolchain"] / "codegen_tool" / "bin" / folder / "node_0_0"

    def environment(self, **extra):
        kept = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
        return {**kept, "PATH": f"{self.places['bin']}:/usr/local/bin:/usr/bin:/bin", **extra}

    def type(self, commands, *, cwd=None, **extra):
        """Run lines of shell to their end."""
        return subprocess.run(
            ["bash", "-c", commands],
            cwd=cwd or self.work,
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def convert(self, flags, *, env="source toolchain_release/scripts/env_set.sh;", **extra):
        return self.type(f"{env} python convert_weight.py {flags}", cwd=self.places["convert"], **extra)

    def compile(self, node):
        return self.type(f"bash ./scripts/soc_compile.sh $PWD {node}", cwd=self.places["toolchain"])

    def offline_argv(self, **flags):
        """The offline test's command with the defaults a test does not care about; None leaves a flag out."""
        given = {"mp": self.tx81, "cd": self.node(), "pp": self.places["prompts"], "s": "./"} | flags
        words = [word for name, value in given.items() if value is not None for word in (f"-{name}", str(value))]
        return ["python", str(self.places["infer"] / "offline_auto_test.py"), *words]

    def offline(self, **flags):
        return subprocess.run(
            self.offline_argv(**flags),
            cwd=self.work,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start_offline(self, **flags):
        """The same, left running."""
        with (self.work / "terminal").open("a") as log:
            return subprocess.Popen(
                self.offline_argv(**flags), cwd=self.work, env=self.environment(), stdout=log, stderr=log
            )

    def terminal(self):
        return (self.work / "terminal").read_text()

    def responses(self):
        """The answers of every run at this desk, oldest first."""
        files = sorted(self.work.glob("response_*.jsonl"), key=lambda path: path.name.rsplit("_", 1)[1])
        return [json.loads(line) for path in files for line in path.read_text("utf-8").split("\n") if line]

    def events(self, kind=None):
        lines = self.places["events"].read_text("utf-8").split("\n")
        events = [json.loads(line) for line in lines if line]
        return [event for event in events if kind in (None, event["event"])]

    def fault(self, where, text):
        (self.places["faults"] / str(where)).write_text(text + "\n")

    def ask(self, *questions):
        """A file with these questions, to be given as -pp."""
        path = self.work / "asked.txt"
        path.write_text("\n".join(questions) + "\n", "utf-8")
        return path


def end(child):
    """Whatever a test left running is gone when this returns."""
    if child.poll() is None:
        child.send_signal(signal.SIGKILL)
    child.wait(10)
