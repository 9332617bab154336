"""Specs that hold whole card groups: what they have in common, and a server on them."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from orchestrator.model.slots import GROUPS_PER_HOST, SINGLE_CARD, groups_of_cards
from orchestrator.model.spec_words import LONGEST_SECONDS, BuildInput, Cards, Name, Strict


class OnCards(Strict):
    """A job on one to eight card groups of one host, given by number or by name."""

    groups: int = Field(
        default=1, ge=1, le=GROUPS_PER_HOST,
        description="Number of card groups of one host, used in parallel. Default: as many as `cards` names.",
    )  # fmt: skip
    cards: Cards | None = Field(
        default=None,
        description="0..3, 4..7, … 28..31, several of them (0..3,8..11), each also card by card (0,1,2,3), 0..31, or "
        "for infer the single card 0 (which occupies all of g0). Default: any free groups.",
    )

    @model_validator(mode="before")
    @classmethod
    def _counts_its_cards(cls, given: Any) -> Any:
        """Cards alone say how many groups they are; cards that are none are refused where they stand."""
        if not isinstance(given, Mapping) or "groups" in given or not isinstance(given.get("cards"), str):
            return given
        try:
            return {**given, "groups": len(groups_of_cards(given["cards"]))}
        except ValueError:
            return given

    @model_validator(mode="after")
    def _cards_are_so_many_groups(self) -> "OnCards":
        if self.cards is not None and len(groups_of_cards(self.cards)) != self.groups:
            named = len(groups_of_cards(self.cards))
            told = "1 card group" if named == 1 else f"{named} card groups"
            raise ValueError(f"cards {self.cards} are {told}, but groups says {self.groups}: omit one of the two")
        return self


class ServeSpec(OnCards):
    """Serve the OpenAI API until it is stopped: model + kcore → an endpoint while it is ready.

    It is stopped on request, when it was idle for a time, after its maximum time, or when its
    clients have ended; then it has succeeded. Ending by itself is a failure.
    """

    kind: Literal["serve"] = "serve"
    model: Name
    kcore: BuildInput
    gm: BuildInput | None = Field(default=None, description="The quantised weights an int8 kcore was built from.")
    dtype: Literal["bfloat16", "int8"] = Field(
        default="bfloat16", description="Data type of the kcore. Default: int8 if `gm` is given."
    )
    max_model_len: int = Field(default=8192, ge=1, le=1 << 20, description="Tokens of a prompt and its answer.")
    gpu_blocks: int = Field(default=512, ge=1, le=1 << 20, description="Blocks of the cache of keys and values.")
    block_size: int = Field(default=16, ge=1, le=1 << 20, description="Tokens in a block.")
    port: int | None = Field(
        default=None, ge=1024, le=65535, description="Port it listens on. Default: a free one of TX81_SERVE_PORTS."
    )
    ready_seconds: int = Field(
        default=600,
        ge=1,
        le=LONGEST_SECONDS,
        description="It fails if it is not ready this many seconds after its start.",
    )
    idle_seconds: int | None = Field(
        default=900, ge=1, le=LONGEST_SECONDS, description="Stopped after this many seconds without use; null: never."
    )
    life_seconds: int = Field(
        default=8 * 3600, ge=1, le=LONGEST_SECONDS, description="Stopped this many seconds after it was first ready."
    )
    keep: bool = Field(
        default=False,
        description="Restart policy: it is restarted whenever it dies, unless it dies at once several times in a row.",
    )
    until: Literal["stopped", "clients_ended"] | None = Field(
        default=None,
        description="clients_ended: stopped when all jobs that use its endpoint have ended, and there was at "
        "least one. Default: clients_ended in a pipeline in which a job uses it, else stopped.",
    )

    @model_validator(mode="before")
    @classmethod
    def _computes_as_its_weights_say(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("gm") is not None and "dtype" not in given:
            return {**given, "dtype": "int8"}
        return given

    @model_validator(mode="after")
    def _whole_groups(self) -> "ServeSpec":
        if self.cards == SINGLE_CARD:
            raise ValueError("a server runs on whole card groups: write cards 0..3 for the first")
        if self.gm is not None and self.dtype != "int8":
            raise ValueError(f"gm holds int8 weights, but dtype says {self.dtype}: omit one of the two")
        return self

    @property
    def run_seconds(self) -> int:
        """The longest time of one attempt: to become ready, to live, and to end."""
        return min(self.ready_seconds + self.life_seconds + ENDING_SECONDS, LONGEST_SECONDS)


ENDING_SECONDS = 300
"""What a server whose life is over may take to be stopped, before its run limit is thought to be reached."""
