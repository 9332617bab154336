"""The questions in a file of prompts, as all our programs count them. Pure.

One per line, stripped of surrounding space; blank lines are ignored. A line ends with \\n, \\r\\n or \\r, as
for every program that opens a text file in Python, the vendor's scripts among them. U+2028 and similar characters do
not end a line.
"""

MOST_LINES = 1_000_000
"""Largest number of lines in a file of prompts or answers."""


def lines_of(text: str) -> list[str]:
    """The lines, without their ends; the last may be empty."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def questions_in(text: str) -> list[str]:
    """The questions, in their order."""
    return [line.strip() for line in lines_of(text) if line.strip()]
