"""An exception that ended the steps of an attempt → the failure of the attempt. Pure."""

from dataclasses import replace

from orchestrator.errors import BadRequest, EndpointClosed, OrchestratorError
from orchestrator.model.failures import Failure, FailureKind
from workers.attempt.facts import Findings
from workers.attempt.guard import CardsNotFree
from workers.attempt.launch import LeftInContainer
from workers.host.cards import CardsHeld

_REASON_LENGTH = 300


def is_expected(trouble: Exception) -> bool:
    """Whether it is a regular end of an attempt, not a defect or a broken host."""
    return is_cards_in_use(trouble) or isinstance(trouble, BadRequest | EndpointClosed)


def is_cards_in_use(trouble: Exception) -> bool:
    """Whether another process uses the cards: nothing was started, and only those cards are suspect."""
    return isinstance(trouble, CardsHeld | CardsNotFree | LeftInContainer)


def after(found: Findings, trouble: Exception) -> Findings:
    """The state of the attempt; a failure of the tool has precedence over an error in our code."""
    match trouble:
        case CardsHeld() | CardsNotFree() | LeftInContainer():
            return replace(found, failure=trouble.failure, suspicion=trouble.suspicion)
        case BadRequest():
            return replace(found, failure=Failure(kind=FailureKind.BAD_SPEC, reason=trouble.detail))
        case EndpointClosed():
            return replace(found, failure=Failure(kind=FailureKind.SERVER_GONE, reason=trouble.detail))
        case _:
            return replace(found, failure=found.failure or fault_of(trouble))


def fault_of(trouble: Exception) -> Failure:
    """An unexpected error, in one line."""
    said = trouble.detail if isinstance(trouble, OrchestratorError) else f"{type(trouble).__name__}: {trouble}"
    return Failure(kind=FailureKind.FAULT, reason=next(iter(said.splitlines()), "")[:_REASON_LENGTH])
