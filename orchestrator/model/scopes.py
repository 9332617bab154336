"""What a token may do: four steps of trust, each with all that the ones before it have, and one scope for programs."""

from collections.abc import Iterable
from enum import StrEnum


class Scope(StrEnum):
    """What a token is for; from `viewer` to `admin` each has everything that the ones before it have."""

    INFERENCE = "inference"  #: Asks the models that servers have ready, and reads nothing: for programs that use them.
    VIEWER = "viewer"  #: Reads everything: jobs, logs, answers, slots.
    SUBMITTER = "submitter"  #: Submits jobs, registers models, and orders anything of jobs; asks served models.
    OPERATOR = "operator"  #: Takes slots out of service and back, reserves them, and shares them out between projects.
    ADMIN = "admin"  #: Makes and revokes tokens, registers toolchain releases, and sets up hosts.


_STEPS = (Scope.VIEWER, Scope.SUBMITTER, Scope.OPERATOR, Scope.ADMIN)
_ENOUGH = {needed: frozenset(_STEPS[at:]) for at, needed in enumerate(_STEPS)}
_ENOUGH[Scope.INFERENCE] = _ENOUGH[Scope.SUBMITTER] | {Scope.INFERENCE}


def allows(granted: Iterable[str], needed: Scope) -> bool:
    """Whether a token with these scopes may do what `needed` is asked for; an unknown word grants nothing."""
    return not _ENOUGH[needed].isdisjoint(granted)
