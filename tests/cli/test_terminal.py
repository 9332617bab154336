"""Nothing that others wrote commands a terminal."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from cli.session import Printing
from cli.terminal import LogScreen, visible, with_colours

ATTACKS = {
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "link": "\x1b]8;;http://evil.example\x1b\\here\x1b]8;;\x1b\\",
    "title": "\x1b]0;evil\x07",
    "erase": "\x1b[2J\x1b[H",
    "cursor": "\x1b[10A\x1b[2K",
    "C1 CSI": "\x9b2J",
    "C1 OSC": "\x9d52;c;ZXZpbA==\x9c",
    "device": "\x1bP$q\x1b\\",
    "reset": "\x1bc",
    "bidi": "\u202eexe.gpj",
    "isolate": "\u2066a\u2069",
    "backspace": "good\b\b\b\bevil",
    "over the line": "failed\rok    ",
    "private SGR": "\x1b[?25l",
    "delete": "a\x7fb",
    "paragraph": "a\u2028b",
}
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

attacks = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


@attacks
def test_what_a_terminal_would_obey_is_shown(attack):
    for shown in (
        visible(f"a {attack} b"),
        with_colours(f"a {attack} b"),
        LogScreen(colours=False).shown(attack.encode()),
    ):
        assert not HARMFUL.search(shown)


@attacks
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_log_is_as_harmless_in_pieces_as_whole(attack, size):
    log, screen = f"before {attack} after \x1b[31mred\x1b[0m".encode(), LogScreen()

    shown = "".join(screen.shown(log[at : at + size]) for at in range(0, len(log), size)) + screen.shown(
        b"", final=True
    )

    assert not HARMFUL.search(re.sub(r"\x1b\[[0-9;]*m", "", shown))
    assert shown.startswith("before ")
    assert shown.endswith(" after \x1b[31mred\x1b[0m\x1b[0m")


def test_colours_text_and_line_breaks_pass():
    log = "\x1b[1;31m错误\x1b[0m　全角\tTab\r\nnext 🙂\n"

    assert with_colours(log) == log.replace("\r\n", "\n")


def test_bytes_that_are_no_text_are_shown():
    assert LogScreen(colours=False).shown(b"a\xff\xe4\xbd\xa0", final=True) == "a\\xff你"


@attacks
def test_a_document_means_the_same_and_holds_nothing_to_obey(attack, capsys):
    Printing(output="json").emit({"name": attack}, "")

    printed = capsys.readouterr().out
    assert json.loads(printed) == {"name": attack}
    assert not HARMFUL.search(printed)


def test_a_page_on_a_terminal_holds_colours_only():
    program = (
        "from rich.text import Text; from cli.session import Printing, hint\n"
        f"attacks = {list(ATTACKS.values())!r}\n"
        "for attack in attacks: Printing().emit({}, Text(attack, style='red')); hint(attack)\n"
    )
    reader, writer = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color"}
    subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=writer, env=env, check=True)
    os.close(writer)
    printed = b""
    try:
        while piece := os.read(reader, 65536):
            printed += piece
    except OSError:  # the terminal is closed
        pass
    os.close(reader)

    shown = re.sub(r"\x1b\[[0-9;]*m", "", printed.decode()).replace("\r\n", "\n")
    assert "\x1b[31m" in printed.decode()
    assert not HARMFUL.search(shown)
