"""The log of everything that happened to a card: one JSON object per line, appended by one write each.

| event | meaning | facts besides `ts` (seconds since 1970), `event`, `pid` |
|---|---|---|
| opening | is about to request cards; written before the lock is tried | cards, tool |
| open | holds the cards | cards, tool |
| close | releases them; written before the lock is released | cards, tokens |
| unclean | found a card whose last owner died holding it | cards, owner (its text) |
| refused | did not get the requested cards, and reported why | cards, reason |
| fault | an injected fault struck | at (card number or stage), fault |
| violation | requested something that another process holds | cards or folder, holder (pid) |

A violation is always visible: a second opener that is killed between request and report leaves its `opening` inside
another's open interval, and a line truncated by a full disk does not parse. `audit` finds both.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def record(log: Path, event: str, **facts: object) -> None:
    """Append one event; it is in the file when this returns, whatever becomes of the process then."""
    line = {"ts": round(time.time(), 6), "event": event, "pid": os.getpid(), **facts}
    payload = (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if os.write(handle, payload) != len(payload):
            raise OSError(f"{log}: event {event} was cut short, is the disk full?")
    finally:
        os.close(handle)


def read(log: Path) -> Iterator[dict[str, Any]]:
    """Every event in order; a line that is not one comes out as an event `torn`."""
    for line in log.read_text("utf-8", "replace").split("\n"):
        if not line:
            continue
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        yield event if isinstance(event, dict) and "event" in event else {"event": "torn", "line": line}


def audit(log: Path) -> list[str]:
    """Every sign in the log that a card or folder was ever wanted by two at once; none is the healthy answer."""
    findings: list[str] = []
    holders: dict[int, int] = {}
    asking: dict[int, list[int]] = {}
    for event in read(log):
        pid, cards = event.get("pid", 0), event.get("cards", [])
        match event["event"]:
            case "violation" | "torn":
                asking.pop(pid, None)
                findings.append(json.dumps(event, ensure_ascii=False))
            case "opening":
                asking[pid] = [card for card in cards if card in holders]
            case "open":
                findings += [
                    f"card {card} opened by {pid} while held by {holders[card]}" for card in cards if card in holders
                ]
                holders |= dict.fromkeys(cards, pid)
                asking.pop(pid, None)
            case "fault" | "refused":
                asking.pop(pid, None)
            case "close" | "unclean":
                for card in cards:
                    holders.pop(card, None)
    silent = [(pid, cards) for pid, cards in asking.items() if cards]
    return findings + [
        f"cards {cards} asked for by {pid} while held; it died before it could say so" for pid, cards in silent
    ]
