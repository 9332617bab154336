"""The words and shapes of states: never a colour alone."""

from typing import NamedTuple


class Shape(NamedTuple):
    """How a state is marked: a sign that differs without colour, and the colour."""

    sign: str
    colour: str


def _(text: str) -> str:
    """Marks a text for the catalogues; it is translated where it is shown."""
    return text


WORDS = {
    "free": _("free"),
    "assigned": _("assigned"),
    "running": _("running"),
    "draining": _("draining"),
    "drained": _("drained"),
    "suspect": _("under suspicion"),
    "quarantined": _("quarantined"),
    "deaf": _("does not hear"),
    "lost": _("no heartbeat"),
    "away": _("worker stopped"),
    "waiting": _("waiting"),
    "queued": _("queued"),
    "succeeded": _("succeeded"),
    "failed": _("failed"),
    "cancelled": _("cancelled"),
    "skipped": _("skipped"),
    "held": _("on hold"),
    "cancel": _("Cancel"),
    "hold": _("Hold"),
    "unhold": _("Remove hold"),
    "front": _("To the front"),
    "priority": _("Priority"),
    "retry": _("Retry"),
    "drain": _("Drain"),
    "resume": _("Return to service"),
    "quarantine": _("Quarantine"),
    "fault": _("infrastructure fault"),
    "bad_spec": _("bad specification"),
    "tool": _("error of the tool"),
    "run_limit": _("run limit"),
    "silence": _("silent for too long"),
    "log_limit": _("log too long"),
    "queue_deadline": _("queue deadline"),
    "total_deadline": _("total deadline"),
    "output_missing": _("output missing"),
    "wrong_cards": _("wrong cards"),
    "server_gone": _("server gone"),
    "wrong_answers": _("wrong answers"),
    "stopped": _("stopped"),
    "device_kills": _("several slots quarantined"),
}
"""What the product calls it, and what a page shows."""

SHAPES = {
    "free": Shape("○", "green"),
    "assigned": Shape("◔", "azure"),
    "running": Shape("▶", "blue"),
    "draining": Shape("◧", "yellow"),
    "drained": Shape("□", "yellow"),
    "suspect": Shape("?", "orange"),
    "quarantined": Shape("⊘", "red"),
    "deaf": Shape("∅", "orange"),
    "lost": Shape("✕", "red"),
    "away": Shape("–", "secondary"),
    "waiting": Shape("…", "secondary"),
    "queued": Shape("◦", "azure"),
    "succeeded": Shape("✓", "green"),
    "failed": Shape("✗", "red"),
    "cancelled": Shape("⊖", "secondary"),
    "skipped": Shape("»", "secondary"),
    "held": Shape("‖", "yellow"),
}

UNKNOWN = Shape("•", "secondary")
