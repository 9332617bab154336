"""`tx81 ab`: two inferences side by side in one reservation of a card group."""

from typing import Annotated, Literal

from cyclopts import Parameter

from cli.input.documents import validated
from cli.input.numbers import Seconds
from cli.pages.suites import run_page
from cli.session import HERE, Exit, Session, hint, once
from cli.waiting.suites import exit_of_run, judged
from orchestrator.model.ab import AbRequest


def ab(
    *,
    a: int,
    b: int,
    blocks: int = 5,
    order: Literal["abba", "random"] = "abba",
    slot: str | None = None,
    metric: Annotated[list[str] | None, Parameter(negative="")] = None,
    effect: float = 0.03,
    answers: Literal["unchanged", "not_worse", "report"] = "report",
    wait: bool = True,
    timeout: Seconds | None = None,
    key: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Repeat two inferences side by side on one reserved card group, and say whether B is worse than A.

    Exit 0 same or better, 1 worse, 2 could not be judged, 4 infrastructure fault. Needs the scope operator.

    Parameters
    ----------
    a
        Number of a job of kind infer: the side that is compared with.
    b
        Number of another one.
    blocks
        Each has two runs of both sides, in the order A B B A: a linear drift cancels out.
    order
        random: each block is A B B A or B A A B.
    slot
        Card group, HOST.g3. Default: the one on which job A ran last.
    metric
        Judge only this metric; may be repeated. Default: all whose better direction is known.
    effect
        With --metric: the smallest relative difference that matters.
    answers
        What the answers are held to; report shows how many changed.
    wait
        --no-wait: return at once.
    timeout
        Seconds to wait; then exit with 124. The run continues.
    key
        Idempotency key: repeating the command with the same key never starts a second run.
    """
    told: dict[str, object] = {"a": a, "b": b, "blocks": blocks, "order": order, "answers": answers}
    told |= {"slot": slot} if slot is not None else {}
    told |= {"gates": {name: {"effect": effect} for name in metric}} if metric else {}
    request = validated(AbRequest, told)
    with session.client() as client:
        with once(key) as sent:
            made = client.suites.start_ab(request, key=sent)
        if not wait:
            session.emit(made, run_page(made))
            return Exit.OK
        hint(f"A/B run {made.id}; Ctrl-C detaches")
        ended = judged(client, made.id, timeout)
        session.emit(ended, run_page(ended))
    return exit_of_run(ended)
