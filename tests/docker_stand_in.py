"""A stand-in for docker: a client that speaks its command line, and the daemon that starts what it asks for.

As in life, what runs in a container is no child of the client and has a session of its own; a signal to the client, or
its death, does not reach it; it has the container's environment and what `-e` adds, and nothing else. Unlike in life it
shares files and process numbers with the host, so a mount is a link that a test makes.

`python docker_stand_in.py serve SOCKET` is the daemon, `python docker_stand_in.py SOCKET exec …` the client.
"""

import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

CONTAINER_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "OF_THE_IMAGE": "1", "HOME": "/root"}


class Daemon(socketserver.ThreadingUnixStreamServer):
    """One container, `txnn`, whose processes it knows by their sessions."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, path: str) -> None:
        super().__init__(path, Connection)
        self.running = True
        self.lock = threading.Lock()
        self.sessions: list[int] = []

    def stop_container(self) -> None:
        with self.lock:
            self.running = False
            for name in filter(str.isdigit, os.listdir("/proc")):
                with suppress(OSError):
                    if os.getsid(int(name)) in self.sessions:
                        os.kill(int(name), signal.SIGKILL)


class Connection(socketserver.StreamRequestHandler):
    server: Daemon

    def handle(self) -> None:
        asked = json.loads(self.rfile.readline())
        try:
            self._answer(asked)
        except BrokenPipeError:
            return

    def _answer(self, asked: dict) -> None:
        if asked["container"] != "txnn":
            self._end(1, err=f"Error response from daemon: No such container: {asked['container']}\n")
        elif asked["do"] == "stop":
            self.server.stop_container()
            self._end(0)
        elif asked["do"] == "start":
            self.server.running = True
            self._end(0)
        elif asked["do"] == "inspect":
            self._end(0, out=f"{json.dumps(self.server.running)}\n")
        elif not self.server.running:
            self._end(1, err="Error response from daemon: container 4f5e is not running\n")
        else:
            self._exec(asked)

    def _exec(self, asked: dict) -> None:
        if not Path(asked["cwd"]).is_dir():
            self._end(126, err=f"OCI runtime exec failed: exec failed: chdir to cwd ({asked['cwd']!r}): no such file\n")
            return
        with self.server.lock:
            process = subprocess.Popen(
                asked["argv"], cwd=asked["cwd"], env={**CONTAINER_ENVIRONMENT, **asked["env"]},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            self.server.sessions.append(process.pid)
        assert process.stdout is not None
        told = threading.Thread(target=self._pass_on, args=(process.stdout,), daemon=True)
        told.start()
        code = process.wait()
        told.join(0.5)  # what it has left behind may hold its output open
        with suppress(OSError):
            self._end(code if code >= 0 else 128 - code)

    def _pass_on(self, output) -> None:
        listening = True
        while said := output.read1(65536):
            try:
                if listening:
                    self._say({"out": said.decode("latin-1")})
            except OSError:
                listening = False  # the client is gone, and the process must not hear of it

    def _end(self, code: int, out: str = "", err: str = "") -> None:
        self._say({"out": out, "err": err, "code": code})

    def _say(self, fact: dict) -> None:
        self.wfile.write(json.dumps(fact).encode() + b"\n")
        self.wfile.flush()


def client(path: str, words: list[str]) -> int:
    do, *words = words
    asked = {"do": do, "env": {}, "cwd": "/", "argv": []}
    while words and words[0].startswith("-"):
        option, value, *words = words
        match option:
            case "-e":
                name, _, given = value.partition("=")
                asked["env"][name] = given
            case "-w":
                asked["cwd"] = value
            case "-u" | "-f":
                pass
            case _:
                print(f"unknown shorthand flag: {option}", file=sys.stderr)
                return 125
    asked["container"], *asked["argv"] = words
    with socket.socket(socket.AF_UNIX) as daemon:
        try:
            daemon.connect(path)
        except OSError:
            print(f"Cannot connect to the Docker daemon at unix://{path}. Is the daemon running?", file=sys.stderr)
            return 1
        daemon.sendall(json.dumps(asked).encode() + b"\n")
        for line in daemon.makefile("rb"):
            fact = json.loads(line)
            sys.stdout.buffer.write(fact.get("out", "").encode("latin-1"))
            sys.stdout.flush()
            sys.stderr.write(fact.get("err", ""))
            if "code" in fact:
                return int(fact["code"])
    return 1


def main(words: list[str]) -> int:
    if words[0] != "serve":
        return client(words[0], words[1:])
    Daemon(words[1]).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
