"""The words of a timeline. Pure."""

from enum import StrEnum


class SpanKind(StrEnum):
    """What a span of a lane says."""

    RAN = "ran"  #: An attempt held the card group.
    RESERVED = "reserved"
    OUT = "out"  #: Drained or quarantined.
