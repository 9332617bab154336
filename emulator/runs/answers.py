"""The files that a run reads and writes: questions and golden answers, the run's log, the responses."""

import difflib
import json
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TextIO

from emulator.tool import Refused, say


def read_questions(path: Path) -> list[str]:
    """One question a line, in UTF-8; blank lines are no questions."""
    lines = _text(path).split("\n")
    questions = [line.strip() for line in lines if line.strip()]
    if not questions:
        raise Refused(f"{path}: no questions in it")
    return questions


def read_golden(path: Path) -> dict[str, str]:
    """Expected answers by question, from JSON lines with `question` and `answer` (or `response`, as a run writes
    them)."""
    golden: dict[str, str] = {}
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            golden[str(row["question"]).strip()] = str(row["answer"] if "answer" in row else row["response"])
        except (ValueError, TypeError, KeyError) as error:
            raise Refused(f"{path}: line {number} is not a question with its answer: {error!r}") from None
    return golden


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"{path}: not UTF-8: {error}") from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None


def similarity(answer: str, expected: str) -> float:
    """From 0 (nothing in common) to 1 (the same text)."""
    return 1.0 if answer == expected else difflib.SequenceMatcher(None, answer, expected, autojunk=False).ratio()


def quest(prompts: Path) -> str:
    """The name of a question file as it stands in the names of a run's files."""
    return re.sub(r"[^\w.-]", "_", prompts.stem)


def described(where: str, row: Mapping[str, Any], questions: int) -> str:
    """One answer as an entry of the run's log; `where` says who gave it."""
    lines = [
        where,
        f"question {row['question_index'] + 1}/{questions}: {row['question']}",
        f"answer: {row['response']}",
        f"prompt {row['prompt_tokens']} tokens, output {row['output_tokens']} tokens ({row['finish_reason']})",
        f"{row['seconds']} s, first token after {row['ttft_seconds']} s",
    ]
    if "similarity" in row:
        lines.append(f"similarity: {row['similarity']:.4f}")
    return "\n".join(lines)


def timestamp() -> str:
    """The `<time>` of this run's file names; fine enough that two runs do not meet."""
    now = time.time()
    return time.strftime("%Y%m%d%H%M%S", time.localtime(now)) + f"{int(now % 1 * 1_000_000):06d}"


class RunLog:
    """Lines for a person: on the screen and in the run's log file, whole even with many batches at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("x", encoding="utf-8", errors="backslashreplace", buffering=1)
        self._lock = threading.Lock()

    def line(self, text: str) -> None:
        """Write one entry, which may span lines, to both places at once."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime())
        with self._lock:
            self._file.write(f"[{stamp}] {text}\n")
            say(f"[{stamp}] {text}")

    def facts(self, title: str, facts: Mapping[str, object]) -> None:
        """Write a block of facts, as the vendor's tools open their logs."""
        self.line("\n".join([title, *(f"| - {name}: {value}" for name, value in facts.items())]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class DeviceLog:
    """The txda log: in `folder` if one is given, else on the screen."""

    def __init__(self, folder: Path | None, time_of_run: str) -> None:
        self._file: TextIO | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"txda_{time_of_run}_{os.getpid()}.log"
            self._file = path.open("x", encoding="utf-8", buffering=1)

    def line(self, text: str) -> None:
        """Write one line about the device."""
        entry = f"[TXDA][INFO] [{os.getpid()}] {text}"
        if self._file is None:
            say(entry)
        else:
            self._file.write(entry + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


class Responses:
    """The answers as JSON lines, or as text for people, each in the file as soon as it is known."""

    def __init__(self, path: Path, *, as_text: bool = False) -> None:
        self.path = path.with_suffix(".txt") if as_text else path
        self.rows: list[Mapping[str, Any]] = []
        self._entry = _as_text if as_text else _as_json
        self._file = self.path.open("x", encoding="utf-8", errors="backslashreplace", buffering=1)
        self._lock = threading.Lock()

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep one answer."""
        with self._lock:
            self.rows.append(row)
            self._file.write(self._entry(row))

    def summary(self) -> str:
        """The last line of a run's log."""
        tokens = sum(row["output_tokens"] for row in self.rows)
        line = f"done: {len(self.rows)} answers, {tokens} tokens, saved in {self.path}"
        marks = [row["similarity"] for row in self.rows if "similarity" in row]
        return line + (f", mean similarity {sum(marks) / len(marks):.4f}" if marks else "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _as_json(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _as_text(row: Mapping[str, Any]) -> str:
    head = f"=== batch {row['batch']} round {row['round']} question {row['question_index']}"
    return f"{head}\nQ: {row['question']}\nA: {row['response']}\n"
