"""What may explain a change in the history of a series."""

from enum import StrEnum


class MarkKind(StrEnum):
    """What a mark of a history is about."""

    RELEASE = "release"  #: A release of the vendor's tools was registered.
    BASELINE = "baseline"  #: A baseline of the cell began or ended.
    CASE = "case"  #: A case of the series was opened or closed.
    SLOT = "slot"  #: A card group that measured it left service or came back, or its results came into doubt.
    HOST = "host"  #: A host of such a card group was set up: another driver.
