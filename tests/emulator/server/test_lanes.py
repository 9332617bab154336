"""Card groups are handed out one request each, in the order of asking."""

import threading

import pytest
from eventually import eventually

from emulator.server.lanes import ClientGone, Closing, Lane, Lanes, QueueFull


def lanes_of(count, *, queue_limit=8):
    lanes = Lanes(queue_limit=queue_limit)
    for number in range(count):
        lanes.add(Lane(number, cards=None, session=None, log=None))
    return lanes


def here():
    return False


def test_who_asked_first_is_served_first():
    lanes, served, threads = lanes_of(1), [], []

    def ask(name):
        with lanes.taken(here):
            served.append(name)

    with lanes.taken(here):
        for name in range(6):
            threads.append(threading.Thread(target=ask, args=(name,)))
            threads[-1].start()
            eventually(lambda waiting=name + 1: len(lanes.waiting) == waiting)
    for thread in threads:
        thread.join(10)

    assert served == list(range(6))


def test_the_group_that_rested_longest_is_taken_next():
    lanes, taken = lanes_of(3), []

    for _ in range(6):
        with lanes.taken(here) as lane:
            taken.append(lane.number)

    assert taken == [0, 1, 2, 0, 1, 2]


def test_a_full_queue_refuses_at_once():
    lanes = lanes_of(1, queue_limit=0)

    with lanes.taken(here), pytest.raises(QueueFull), lanes.taken(here):
        pass


def test_who_has_gone_waits_no_longer_and_keeps_nobody_from_it():
    lanes = lanes_of(1, queue_limit=1)

    with lanes.taken(here):
        with pytest.raises(ClientGone), lanes.taken(lambda: True):
            pass
        left = len(lanes.waiting)
    with lanes.taken(here) as lane:
        number = lane.number

    assert (left, number) == (0, 0)


def test_who_leaves_the_queue_leaves_it_to_the_others():
    lanes, left, ends = lanes_of(1), threading.Event(), []

    def ask(name, is_gone):
        try:
            with lanes.taken(is_gone):
                ends.append(name)
        except ClientGone:
            ends.append("gone")

    with lanes.taken(here):
        threads = [
            threading.Thread(target=ask, args=("stays", here)),
            threading.Thread(target=ask, args=("", left.is_set)),
        ]
        for waiting, thread in enumerate(threads, 1):
            thread.start()
            eventually(lambda waiting=waiting: len(lanes.waiting) == waiting)
        left.set()
        eventually(lambda: ends == ["gone"])
    for thread in threads:
        thread.join(10)

    assert ends == ["gone", "stays"]


def test_closing_ends_the_wait_and_admits_nobody():
    lanes, ends = lanes_of(1), []

    def ask():
        try:
            with lanes.taken(here):
                ends.append("served")
        except Closing:
            ends.append("closing")

    with lanes.taken(here):
        thread = threading.Thread(target=ask)
        thread.start()
        eventually(lambda: lanes.waiting)
        lanes.close()
        thread.join(10)

    assert ends == ["closing"]
    with pytest.raises(Closing), lanes.taken(here):
        pass
