"""The questions of a file, counted alike by everyone who reads one."""

from pathlib import Path

import pytest

from emulator.runs import answers as emulated
from orchestrator.results.text_files import prompts_in
from workers.toolchain.answers import count_prompts, read_golden, read_prompts

FILES = {
    "lines": (b"one\ntwo\n", ["one", "two"]),
    "no end": (b"one\ntwo", ["one", "two"]),
    "of Windows": (b"one\r\ntwo\r\n", ["one", "two"]),
    "of old Macs": (b"one\rtwo\r", ["one", "two"]),
    "a return inside": (b"one\rhalf\ntwo\n", ["one", "half", "two"]),
    "all mixed": (b"one\r\r\ntwo\n\rthree", ["one", "two", "three"]),
    "a byte order mark": ("\ufeffone\ntwo".encode(), ["one", "two"]),
    "blank lines": (b"\n \t\none\n\n\xe3\x80\x80\ntwo\n\n", ["one", "two"]),
    "separators of Unicode": (
        "one\u2028more\u2029 end\ntwo\x0b\x0c2".encode(),
        ["one\u2028more\u2029 end", "two\x0b\x0c2"],
    ),
    "space around": (b"  one \n\ttwo\t", ["one", "two"]),
}


@pytest.mark.parametrize(("content", "expected"), FILES.values(), ids=FILES)
def test_everyone_counts_the_same_questions(tmp_path: Path, content: bytes, expected: list[str]):
    place = tmp_path / "prompts.txt"
    place.write_bytes(content)

    assert prompts_in(content, "prompts") == expected
    assert read_prompts(place) == expected
    assert count_prompts(place) == len(expected)
    assert emulated.read_questions(place) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_golden_has_its_lines_whatever_ends_them(tmp_path: Path, end: str):
    place = tmp_path / "golden.jsonl"
    lines = ['{"question": "one", "answer": "1"}', "", '{"question": "two", "answer": "2"}']
    place.write_bytes(end.join(lines).encode())

    assert [read_golden(place).answer_to(question, 0) for question in ("one", "two")] == ["1", "2"]
    assert emulated.read_golden(place) == {"one": "1", "two": "2"}
