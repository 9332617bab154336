"""What a tool wrote for a terminal, as HTML."""

import pytest

from api.pages.terminal import Terminal


def html(*lines: str) -> list[str]:
    return [str(line.html) for line in Terminal().shown(lines)]


def test_colours_and_styles_become_classes():
    assert html("\x1b[1;31mred\x1b[0m plain \x1b[92mgreen\x1b[39m") == [
        '<span class="bold fg-1">red</span> plain <span class="fg-10">green</span>'
    ]
    assert html("\x1b[38;5;9mA\x1b[38;5;200mB\x1b[38;2;1;2;3mC") == ['<span class="fg-9">A</span>BC']


def test_a_colour_lasts_until_it_is_changed():
    assert html("\x1b[33ma", "b\x1b[m", "c") == ['<span class="fg-3">a</span>', '<span class="fg-3">b</span>', "c"]


def test_of_progress_that_overwrites_its_line_the_last_state_is_shown():
    line, ended = Terminal().shown(["10%\r\x1b[32m20%\r30%\r", "windows\r"])

    assert (str(line.html), line.folded) == ('<span class="fg-2">30%</span>', 2)
    assert (str(ended.html), ended.folded) == ('<span class="fg-2">windows</span>', 0)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("<b>&", "&lt;b&gt;&amp;"),
        ("\x1b[31;\"><script>m", "�[31;&#34;&gt;&lt;script&gt;m"),
        ("\x1b[2J\x1b[H\x1b]0;title\x07\x1b(Bx", "x"),
        ("\x1b]8;;javascript:alert(1)\x1b\\here\x1b]8;;\x1b\\", "here"),
        ("\u202eexe.txt\u2066", "�exe.txt�"),
        ("a\x00b\x9b31mc\x1b", "a�b�31mc�"),
        ("a\tb", "a\tb"),
        ("\x1b[99999999999999999999;mx", "x"),
    ],
)  # fmt: skip
def test_what_a_terminal_would_obey_is_left_out_or_shown_as_text(line, shown):
    assert html(line) == [shown]
