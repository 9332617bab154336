"""How fast a server answers, from the texts of its streams."""

from api.proxy.pace import KEPT, Pace, PaceSoFar, Reading

EMPTY = b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\n\n'
TEXT = 'data: {"choices": [{"delta": {"content": "\\"你"}}]}\n\n'.encode()


def stream(pace: Pace, *pieces: tuple[float, bytes]) -> None:
    at = [0.0]
    reading = Reading(pace, lambda: at[0])
    for moment, piece in pieces:
        at[0] = moment
        reading.hear(piece)
    reading.end()


def test_the_first_text_counts_and_not_the_first_event():
    pace = Pace()

    stream(pace, (0.1, EMPTY), (0.5, TEXT), (0.75, TEXT), (1.0, TEXT), (9.0, b"data: [DONE]\n\n"))

    assert pace.so_far() == PaceSoFar(requests=1, ttft=0.5, ttft_most=0.5, tpot=0.25)


def test_several_texts_in_one_piece_are_several():
    pace = Pace()

    stream(pace, (1.0, TEXT), (2.0, TEXT + TEXT))

    assert pace.so_far().tpot == 0.5


def test_an_answer_without_a_text_does_not_count_and_old_ones_are_forgotten():
    pace = Pace()
    stream(pace, (1.0, EMPTY))
    assert pace.so_far() is None

    for number in range(2 * KEPT):
        stream(pace, (float(number), TEXT))

    assert pace.so_far() == PaceSoFar(KEPT, 1.5 * KEPT - 0.5, 2 * KEPT - 1, None)
