"""What asks servers: the spec of a client, and the shape of the load that our own one makes."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from orchestrator.model.requirements import Answering
from orchestrator.model.server_urls import ServerUrl
from orchestrator.model.spec_words import MAX_TOKENS, JobOutput, PromptsInput, Strict

MOST_PROCESSES = 64
MOST_REQUESTS = 100_000

ONE, ELSEWHERE, SEVERAL = "one_endpoint", "endpoint_elsewhere", "several_endpoints"
"""Tags of the forms; they stand in the place of an error, where no person wrote them."""


def _form(given: object) -> str:
    if isinstance(given, list | tuple):
        return SEVERAL
    return ELSEWHERE if isinstance(given, ServerUrl) or (isinstance(given, Mapping) and "url" in given) else ONE


_Endpoint = Annotated[Annotated[JobOutput, Tag(ONE)] | Annotated[ServerUrl, Tag(ELSEWHERE)], Discriminator(_form)]
Endpoints = Annotated[
    Annotated[JobOutput, Tag(ONE)]
    | Annotated[ServerUrl, Tag(ELSEWHERE)]
    | Annotated[tuple[_Endpoint, ...], Tag(SEVERAL)],
    Discriminator(_form),
]

Program = Literal["load", "chat", "completion_llama", "chat_processes", "completion_llama_processes"]


class Goodput(Strict):
    """Limits of one request: it counts as good if it meets all that are given."""

    ttft_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="To the first text.")
    tpot_seconds: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Per token after the first."
    )
    request_seconds: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="To the end of the answer."
    )

    @model_validator(mode="after")
    def _limits_something(self) -> "Goodput":
        if not self.model_dump(exclude_none=True):
            raise ValueError("name at least one limit: ttft_seconds, tpot_seconds, request_seconds")
        return self


class Load(Strict):
    """The shape of a load: a number of requests in flight (closed loop), or of requests per second (open loop)."""

    concurrency: int | None = Field(
        default=None, ge=1, le=512, description="Requests in flight at any time. Default: 1, unless rate is given."
    )
    rate: float | None = Field(
        default=None, ge=0.001, le=10_000, allow_inf_nan=False,
        description="Average requests per second, at the times of a Poisson process, independent of the answers.",
    )  # fmt: skip
    requests: int | None = Field(
        default=None,
        ge=1,
        le=MOST_REQUESTS,
        description="Number of measured requests. Default: each prompt `repeats` times.",
    )
    warmup: int = Field(
        default=0, ge=0, le=10_000, description="Requests sent before, one by one, which are not measured."
    )
    shuffle: bool = Field(default=False, description="Prompts in a random order from `seed`, each equally often.")
    seed: int = Field(
        default=0, ge=0, lt=1 << 32, description="Seed of the order of prompts and of the times of sending."
    )
    interface: Literal["chat", "completion"] = Field(
        default="chat", description="Send each prompt as the only message of a chat, or as a text to complete."
    )
    ignore_eos: bool = Field(default=False, description="Every answer has exactly max_tokens tokens.")
    goodput: Goodput | None = None

    @model_validator(mode="after")
    def _one_loop(self) -> "Load":
        if self.rate is not None and self.concurrency is not None:
            raise ValueError("give concurrency (a closed loop) or rate (an open loop), not both")
        return self

    def total(self, prompts: int, repeats: int) -> int:
        """How many requests are measured."""
        return self.requests or prompts * repeats


class ClientSpec(Strict, Answering):
    """Send prompts to servers and store the answers: endpoint + prompts (+ golden) → `answers`, metrics.

    It starts when the endpoints are open, which stay open for it. When one ends it fails with `server_gone`, or begins
    anew with the next if the server is kept.
    """

    kind: Literal["client"] = "client"
    endpoint: Endpoints = Field(
        description="That of a serve job: {job: NAME or number, artifact: endpoint}; or {url: http://HOST:PORT} of a "
        "server that was not started here. A list for the programs with several processes, which use them in turn."
    )
    program: Program = Field(default="load", description="Our own load client, or one of the vendor's four scripts.")
    prompts: PromptsInput
    max_tokens: int = Field(default=1024, ge=1, le=MAX_TOKENS)
    repeats: int = Field(default=1, ge=1, le=MOST_REQUESTS)
    processes: int | None = Field(
        default=None, ge=1, le=MOST_PROCESSES,
        description="Of the programs of several processes: how many; one for each endpoint if absent. "
        "Each asks all prompts.",
    )  # fmt: skip
    load: Load | None = Field(
        default=None, description="Shape of the load, for the program load. Default: one request at a time."
    )

    @model_validator(mode="before")
    @classmethod
    def _has_a_shape(cls, given: Any) -> Any:
        """A load always states its shape, so that it can be read next to the results."""
        if isinstance(given, Mapping) and given.get("program", "load") == "load" and given.get("load") is None:
            return {**given, "load": Load()}
        return given

    @model_validator(mode="after")
    def _fits_its_program(self) -> "ClientSpec":
        many = self.program.endswith("_processes")
        if not 1 <= len(self.endpoints) <= MOST_PROCESSES:
            raise ValueError(f"endpoint: give one, or a list of at most {MOST_PROCESSES}")
        if len(set(self.endpoints)) < len(self.endpoints):
            raise ValueError("endpoint: one is listed twice; use processes to set how many ask it")
        if self.elsewhere and self.servers:
            raise ValueError("endpoint: name jobs, or URLs, not both")
        if not many and len(self.endpoints) > 1:
            raise ValueError(
                f"program {self.program} asks one server: give one endpoint, or use a program of several processes"
            )
        if not many and self.processes is not None:
            raise ValueError(f"program {self.program} is one process: omit processes, or use {self.program}_processes")
        if many and self.askers < len(self.endpoints):
            raise ValueError(f"{self.askers} processes cannot ask {len(self.endpoints)} endpoints: omit processes")
        if self.program == "load" and self.most_empty is not None:
            raise ValueError("a load counts empty answers as requests without an answer: omit most_empty")
        if self.program != "load" and self.load is not None:
            raise ValueError(f"program {self.program} has its own load shape: omit load, or use program load")
        return self

    @property
    def endpoints(self) -> tuple[JobOutput | ServerUrl, ...]:
        """What it asks, one or several."""
        return self.endpoint if isinstance(self.endpoint, tuple) else (self.endpoint,)

    @property
    def servers(self) -> tuple[JobOutput, ...]:
        """Those that are jobs."""
        return tuple(one for one in self.endpoints if isinstance(one, JobOutput))

    @property
    def elsewhere(self) -> tuple[ServerUrl, ...]:
        """Those that were not started here."""
        return tuple(one for one in self.endpoints if isinstance(one, ServerUrl))

    @property
    def askers(self) -> int:
        """How many processes ask: each is one batch of the answers."""
        return self.processes or len(self.endpoints)
