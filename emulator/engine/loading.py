"""A model and the kcore it runs on, checked against each other before a card is opened."""

from dataclasses import dataclass
from pathlib import Path

from emulator.engine.kcore import Kcore, Weights, weights_for
from emulator.models import config
from emulator.models.chat import Chat
from emulator.tool import Refused


@dataclass(frozen=True)
class Loaded:
    """What any number of card groups can share."""

    kcore: Kcore
    weights: Weights
    chat: Chat


def load(flag: str, model: Path, case: Path) -> Loaded:
    """Read the model that `flag` names and the kcore of `-cd`; the first thing that does not fit is `Refused`."""
    folder = model if model.is_dir() else model.parent
    case = case.parent if case.name == "kcore.bin" else case
    if not model.exists():
        raise Refused(f"{flag} {model}: no such folder")
    raw = config.read(folder)
    kcore = Kcore(case)
    config.require_kcore(raw, case, chips=kcore.chips)
    kcore.require_model(raw)
    return Loaded(kcore, Weights(kcore, weights_for(kcore, model)), Chat(folder))
