"""An engineer's terminal in front of one emulated host: types commands, reads what comes back."""

import http.client
import json
import os
import re
import signal
import subprocess
from contextlib import closing
from pathlib import Path

from eventually import eventually

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

    def start_server(self, **flags):
        """The guide's server on any free port, left running; None leaves a flag out."""
        given = {
            "--model": self.tx81,
            "--device": "txcpu",
            "--load_format": "tx",
            "-cd": self.node(),
            "--port": 0,
            "-cn": "0..3",
            "--max-model-len": 8192,
            "-ts": 4,
        } | {("-" if len(name) < 3 else "--") + name.replace("_", "-"): value for name, value in flags.items()}
        words = [f"{name}={value}" for name, value in given.items() if value is not None]
        return Server(self, ["python", str(self.places["infer"] / "openai_completion_server.py"), *words])

    def client(self, name="openai_chat_completion_client.py", **flags):
        """One of the guide's clients, run to its end."""
        given = {"pp": self.places["prompts"], "s": "./"} | flags
        words = [word for flag, value in given.items() for word in (f"-{flag}", str(value))]
        return subprocess.run(
            ["python", str(self.places["infer"] / name), *words],
            cwd=self.work,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
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


class Server:
    """A server that was started at a desk."""

    def __init__(self, desk, argv):
        self._log = desk.work / f"server-{len(list(desk.work.glob('server-*')))}"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(argv, cwd=desk.work, env=desk.environment(), stdout=log, stderr=log)
        self.model = str(desk.tx81)
        self._connections = []

    def shown(self):
        return self._log.read_text("utf-8")

    def ready(self):
        """Wait until it listens; answers itself."""
        eventually(lambda: "Uvicorn running" in self.shown() or self.process.poll() is not None, within=60)
        self.port = int(re.search(r"Uvicorn running on http://127.0.0.1:(\d+)", self.shown())[1])
        return self

    def send(self, path, body=None, *, method=None):
        """A connection on which a request was sent and nothing was read; open until the server's end."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self._connections.append(connection)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method or ("GET" if body is None else "POST"), path, data)
        return connection

    def call(self, path, body=None, **how):
        """Status and JSON of one request."""
        with closing(self.send(path, body, **how)) as connection:
            response = connection.getresponse()
            data = response.read()
            return response.status, json.loads(data) if data else None

    def chat(self, question, **fields):
        """The body of a request that asks one question."""
        return {"model": self.model, "messages": [{"role": "user", "content": question}], **fields}

    def gone(self):
        """Whatever is left of it and of its connections is gone when this returns."""
        end(self.process)
        for connection in self._connections:
            connection.close()

    def ended(self, number=signal.SIGINT):
        """The exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(30)


def events_of(connection):
    """What a stream says, one JSON object an event; `[DONE]` as a text."""
    with closing(connection), connection.getresponse() as response:
        texts = [line.removeprefix(b"data: ").strip() for line in response if line.startswith(b"data: ")]
    return [text.decode() if text == b"[DONE]" else json.loads(text) for text in texts]


def status_of(connection):
    """The status of a request that was sent."""
    with connection.getresponse() as response:
        response.read()
        return response.status


def said(events):
    """The text of a chat's stream."""
    return "".join(choice["delta"].get("content", "") for event in events[:-1] for choice in event["choices"])


def end(child):
    """Whatever a test left running is gone when this returns."""
    if child.poll() is None:
        child.send_signal(signal.SIGKILL)
    child.wait(10)
