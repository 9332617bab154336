"""The guide's four clients: they send every question to servers on this host and store the answers.

| script | asks for | servers |
|---|---|---|
| openai_chat_completion_client.py | chat | one port |
| openai_completion_client_llama.py | completion of the bare question | one port |
| mul_process_online_client.py | chat | a list of ports, one process for each |
| mul_process_online_client_completion_llama.py | completion of the bare question | the same |

A port may be listed more than once: the guide's example lists one server eight times. Each process is one batch (`bid`)
with a log `TX8_online_batchsize_<processes>_quest_<stem>_bid_<bid>_<time>.log` in the working directory and
`response_batchsize_…_bid_<bid>_<time>.jsonl` in `-s`. A process that fails does not stop the others; the exit code is
then 1.
"""

import multiprocessing
import os
import re
import signal
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from emulator.clients.calling import Caller, Heard
from emulator.runs.answers import (
    Responses,
    RunLog,
    described,
    quest,
    read_golden,
    read_questions,
    similarity,
    timestamp,
)
from emulator.tool import Failed, Parser, ToolError, between, complain, require_conda, run
from emulator.tree import MAX_SEQUENCE

_PORT = 12000
"""The guide's default for one server."""
_MOST = 64


@dataclass(frozen=True)
class _Script:
    """What one of the four scripts does."""

    chat: bool
    many: bool


SCRIPTS = {
    "openai_chat_completion_client.py": _Script(chat=True, many=False),
    "openai_completion_client_llama.py": _Script(chat=False, many=False),
    "mul_process_online_client.py": _Script(chat=True, many=True),
    "mul_process_online_client_completion_llama.py": _Script(chat=False, many=True),
}


@dataclass(frozen=True)
class _Work:
    """What every process of one call asks."""

    script: _Script
    options: Namespace
    questions: list[str]
    golden: dict[str, str]
    stamp: str
    processes: int


def main(argv: Sequence[str]) -> int:
    """Run the client that the first word names, as the guide's chapter on online inference does."""
    script = SCRIPTS[argv[0]]
    options = _parser(argv[0], script).parse_args(argv[1:])
    require_conda("tx8_txnn")
    ports = options.server_port if script.many else [options.server_port]
    golden = read_golden(Path(options.golden_path)) if options.golden_path else {}
    work = _Work(script, options, read_questions(Path(options.prompt_path)), golden, timestamp(), len(ports))
    Path(options.save_dir).mkdir(parents=True, exist_ok=True)
    if not script.many:
        _ask_all(work, 0, ports[0])
        return 0
    return _in_processes(work, ports)


def _parser(name: str, script: _Script) -> Parser:
    parser = Parser(name)
    port = between(1, 65535)
    if script.many:
        parser.flag("-sp", "--server-port", required=True, type=_ports, help="12000,13000,… one for each process")
    else:
        parser.flag("-sp", "--server-port", type=port, default=_PORT)
    parser.flag("-pp", "--prompt-path", required=True, help="questions, one a line")
    parser.flag("-gp", "--golden-path", help="expected answers, JSON lines")
    parser.flag("-s", "--save-dir", required=True, help="folder for the responses")
    parser.flag("-rn", "--repeat-num", type=between(1, 1_000_000), default=1)
    parser.flag("-mt", "--max-tokens", type=between(1, MAX_SEQUENCE), default=1024)
    return parser


def _ports(text: str) -> list[int]:
    parts = text.split(",")
    if len(parts) > _MOST or not all(re.fullmatch(r"[0-9]{1,5}", part) and 1 <= int(part) <= 65535 for part in parts):
        raise ArgumentTypeError(f"{text!r} is not a list of at most {_MOST} ports like 12000,13000")
    return [int(part) for part in parts]


def _in_processes(work: _Work, ports: list[int]) -> int:
    """One process a port, all gone when this returns, however it does."""
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_child, args=(work, bid, port)) for bid, port in enumerate(ports)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for child in children:
            child.start()
        for child in children:
            child.join()
    except KeyboardInterrupt:
        _end(children)
        raise
    failed = [str(bid) for bid, child in enumerate(children) if child.exitcode]
    if failed:
        raise Failed(f"{len(failed)} of {len(children)} processes failed: bid {', '.join(failed)}")
    return 0


def _end(children: list[ForkProcess]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for child in children:
        if child.pid is not None:
            child.terminate()
            child.join()


def _child(work: _Work, bid: int, port: int) -> None:
    """One process of many; it says why it failed, and its exit code tells the parent that it did."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        _ask_all(work, bid, port)
    except ToolError as error:
        complain(f"bid {bid}: {error}")
        os._exit(error.exit_code)
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)


def _ask_all(work: _Work, bid: int, port: int) -> None:
    options = work.options
    name = f"batchsize_{work.processes}_quest_{quest(Path(options.prompt_path))}_bid_{bid}_{work.stamp}"
    with (
        RunLog(Path.cwd() / f"TX8_online_{name}.log") as log,
        Responses(Path(options.save_dir) / f"response_{name}.jsonl") as responses,
    ):
        caller = Caller(port, chat=work.script.chat)
        for number in range(1, options.repeat_num + 1):
            for index, question in enumerate(work.questions):
                heard = caller.ask(question, options.max_tokens)
                row = _row(work, bid, number, index, heard)
                responses.add(row)
                where = f"bid {bid} port {port} round {number}/{options.repeat_num}"
                log.line(described(where, row, len(work.questions)))
        log.line(responses.summary())


def _row(work: _Work, bid: int, number: int, index: int, heard: Heard) -> Mapping[str, Any]:
    question = work.questions[index]
    row: dict[str, Any] = {
        "batch": bid,
        "round": number,
        "question_index": index,
        "question": question,
        "response": heard.text,
        "prompt_tokens": heard.prompt_tokens,
        "output_tokens": heard.output_tokens,
        "seconds": round(heard.seconds, 6),
        "ttft_seconds": round(heard.ttft_seconds, 6),
        "finish_reason": heard.finish_reason,
    }
    if question in work.golden:
        row["similarity"] = round(similarity(heard.text, work.golden[question]), 6)
    return row


if __name__ == "__main__":
    raise SystemExit(run(main))
