"""Calls beside their caller, in threads that are kept."""

import threading

from workers.processes.threads import beside


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
