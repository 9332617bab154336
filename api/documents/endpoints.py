"""What the API answers about servers: where each answers, and how much of it is used."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class PaceView(BaseModel):
    """How fast a server answered its latest 100 streamed requests that went through the API; in seconds."""

    model_config = ConfigDict(from_attributes=True, frozen=True)

    requests: int
    ttft: float = Field(description="Median time to the first text.")
    ttft_most: float
    tpot: float | None = Field(description="Median time between two texts, which are mostly one token.")


class EndpointView(BaseModel):
    """The address of a server with the OpenAI API."""

    model_config = ConfigDict(from_attributes=True, frozen=True)

    job_id: int
    attempt_id: int
    model: str = Field(description="As it is registered.")
    served_id: str = Field(description="The value of `model` in requests to it.")
    url: str = Field(description="Base URL; paths begin with /v1.")
    groups: int = Field(description="Card groups, each of which answers one request at a time.")
    openly: bool = Field(
        default=False,
        description="It listens at addresses that other machines may reach, without a token, although TX81_ADDRESS of "
        "its host is loopback.",
    )
    ready_at: datetime
    last_used_at: datetime | None = Field(description="Accurate to some seconds; null if it was not used yet.")
    in_flight: int | None = Field(
        default=None,
        description="Requests in flight through the API's own address, as counted by the API process that answers; "
        "null if unknown. Requests sent directly to the server are not counted.",
    )
    pace: PaceView | None = Field(
        default=None, description="As the API process that answers has measured it; null before the first such request."
    )
