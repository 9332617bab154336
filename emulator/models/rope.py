"""Rotary positions: how far each pair of a head's values turns from one token to the next.

A model trained on short texts is extended to longer ones by slower rotation: `linear` slows every pair by one factor,
`llama3` only those that rotate slowly anyway, with a smooth transition. Older configs keep the method in
`rope_scaling` next to `rope_theta`, newer ones all of it in `rope_parameters`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emulator.models.values import integer, positive
from emulator.tool import Refused

_KINDS = ("default", "linear", "llama3")
_USUAL_THETA = 10_000.0
"""Of a config without one, like Llama 2's first."""


@dataclass(frozen=True)
class Rope:
    """One way of turning; the names of its numbers are those of `config.json`, as far as they fit."""

    theta: float
    kind: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 1.0
    original_length: int = 0
    """Tokens of the texts before the stretching; only with `llama3`."""

    def frequencies(self, head_dim: int) -> list[float]:
        """Radians a token, one for each pair of a head."""
        plain = [self.theta ** (-2 * i / head_dim) for i in range(head_dim // 2)]
        match self.kind:
            case "linear":
                return [turn / self.factor for turn in plain]
            case "llama3":
                return [self._slowed(turn) for turn in plain]
        return plain

    def _slowed(self, turn: float) -> float:
        """`llama3`: what turns round seldom within the original length turns slower by the whole factor."""
        rounds = self.original_length * turn / (2 * math.pi)
        if rounds < self.low_freq_factor:
            return turn / self.factor
        if rounds > self.high_freq_factor:
            return turn
        share = (rounds - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        return (1 - share) * turn / self.factor + share * turn


def read(config: Mapping[str, Any]) -> Rope:
    """The way a config describes; a method that is not known, or a number it lacks, is refused by its key."""
    key = "rope_parameters" if isinstance(config.get("rope_parameters"), dict) else "rope_scaling"
    scaling = config.get(key)
    if not isinstance(scaling, dict | None):
        raise Refused(f"config.json: {key} is {scaling!r}, not an object")
    scaling = scaling or {}
    theta = positive({"rope_theta": _USUAL_THETA, **config, **scaling}, "rope_theta", 1e12)
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in _KINDS:
        raise Refused(f"config.json: {key} has rope_type {kind!r}, known are {', '.join(_KINDS)}")
    if kind == "default":
        return Rope(theta)
    factor = positive(scaling, "factor", 1e6)
    if kind == "linear":
        return Rope(theta, kind, factor)
    low, high = positive(scaling, "low_freq_factor", 1e6), positive(scaling, "high_freq_factor", 1e6)
    if low >= high:
        raise Refused(f"config.json: low_freq_factor {low:g} is not below high_freq_factor {high:g}")
    return Rope(theta, kind, factor, low, high, integer(scaling, "original_max_position_embeddings", largest=1 << 31))
