"""What a token may do: four scopes, each with everything that the ones before it have."""

from collections.abc import Iterable
from enum import StrEnum


class Scope(StrEnum):
    """One step of trust, from least to most."""

    VIEWER = "viewer"  #: Reads everything: jobs, logs, answers, slots.
    SUBMITTER = "submitter"  #: Submits jobs, registers models, and orders anything of jobs.
    OPERATOR = "operator"  #: Takes slots out of service and back, reserves them, and shares them out between projects.
    ADMIN = "admin"  #: Makes and revokes tokens, registers toolchain releases, and sets up hosts.


_RANKS = {scope: rank for rank, scope in enumerate(Scope)}


def allows(granted: Iterable[str], needed: Scope) -> bool:
    """Whether a token with these scopes may do what `needed` is asked for; an unknown word grants nothing."""
    known = [_RANKS[Scope(word)] for word in granted if word in _RANKS]
    return bool(known) and max(known) >= _RANKS[needed]
