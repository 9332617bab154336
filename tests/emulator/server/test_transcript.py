"""Text that is told token by token is the same text, and none of it is taken back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.server.transcript import Transcript


def lossy(tokens):
    """Byte tokens as a byte-level tokenizer decodes them."""
    return b"".join(PIECES[token] for token in tokens).decode("utf-8", "replace")


PIECES = [bytes([byte]) for byte in range(256)] + ["愉".encode()[:2], "愉".encode()[2:] + "快".encode()[:1]]


@given(st.lists(st.integers(0, len(PIECES) - 1), max_size=40))
def test_pieces_make_up_what_the_whole_reads_as(tokens):
    transcript = Transcript(lossy)

    told = "".join(transcript.add(token) for token in tokens) + transcript.finish()

    assert told == transcript.text == lossy(tokens)


def test_a_letter_of_several_tokens_comes_whole():
    transcript = Transcript(lossy)
    tokens = [256, 257, *"快!".encode()[1:]]

    assert [transcript.add(token) for token in tokens] == ["", "愉", "", "快", "!"]


@given(st.text("ab.", max_size=30), st.lists(st.text("ab.", min_size=1, max_size=4), min_size=1, max_size=3))
def test_nothing_of_a_stop_text_is_ever_told(text, stops):
    transcript = Transcript(lossy, stops)
    told = ""

    for byte in text.encode():
        told += transcript.add(byte)
        if transcript.ended:
            break
    told += transcript.finish()

    found = [at for at in map(text.find, stops) if at >= 0]
    first_ended = min((text.find(stop) + len(stop) for stop in stops if stop in text), default=None)
    assert transcript.ended == bool(found)
    assert not any(stop in told for stop in stops)
    assert text.startswith(told)
    assert first_ended is not None or told == text


@pytest.mark.parametrize("token", [0xE6, 0xFF])
def test_a_broken_letter_is_told_at_the_end(token):
    transcript = Transcript(lossy)

    assert transcript.add(token) == ""
    assert transcript.finish() == "\N{REPLACEMENT CHARACTER}"
