"""Calls beside their caller, in threads that are kept."""

import threading

from workers.processes.threads import Later, beside


def _thread_of_a_call() -> int:
    ran_in: list[int] = []
    returned = beside(lambda: ran_in.append(threading.get_ident()))
    assert returned.wait(5.0)
    return ran_in[0]


def test_a_call_runs_beside_its_caller():
    go_on, seen = threading.Event(), threading.Event()

    returned = beside(lambda: seen.set() if go_on.wait(5.0) else None)

    assert not returned.is_set()
    go_on.set()
    assert returned.wait(5.0)
    assert seen.is_set()


def test_a_thread_that_has_nothing_to_do_gets_the_next_call():
    first = _thread_of_a_call()

    second = _thread_of_a_call()

    assert first == second


def test_a_call_that_hangs_holds_up_no_other():
    let_go = threading.Event()
    hanging = beside(let_go.wait)

    other = beside(lambda: None)

    assert other.wait(5.0)
    assert not hanging.is_set()
    let_go.set()
    assert hanging.wait(5.0)


def test_a_call_that_is_due_later_is_made_then_and_waited_for():
    made, go_on = threading.Event(), threading.Event()

    later = Later(0.01, lambda: (made.set(), go_on.wait(5.0)))

    assert made.wait(5.0)
    assert not later.call_off(0.0)
    go_on.set()
    assert later.call_off(5.0)


def test_a_call_that_is_called_off_is_never_made_and_one_that_is_due_before_it_is_not_held_up():
    never, made = threading.Event(), threading.Event()
    called_off, due_first = Later(3600.0, never.set), Later(0.0, made.set)

    assert called_off.call_off()
    called_off.begin()

    assert made.wait(5.0)
    assert due_first.call_off(5.0)
    assert not never.is_set()
