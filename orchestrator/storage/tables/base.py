"""What every table stands on: the declarative base, and the column types that both databases store the same way."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Enum, Integer, MetaData, text
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from orchestrator.clock import as_utc
from orchestrator.model.batches import StopOn
from orchestrator.model.failures import FailureKind
from orchestrator.model.notifications import DeliveryState, TargetKind
from orchestrator.model.retirements import Retirable
from orchestrator.model.slots import SlotKind
from orchestrator.model.states import AttemptState, JobState, ServiceState, Until

Document = dict[str, Any]


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime on both databases; SQLite stores it without a zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC, whatever zone the caller's value has."""
        if value is None:
            return None
        moment = as_utc(value)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back an aware datetime."""
        return None if value is None else as_utc(value)


def _word(enum: type) -> Enum:
    """A `StrEnum` kept as its own word in a text column, so that rows read the same in every tool."""
    return Enum(
        enum, native_enum=False, length=20, create_constraint=False, values_callable=lambda e: [m.value for m in e]
    )


def only(rows: str) -> dict[str, Any]:
    """The condition of a partial index, for both databases."""
    return {"sqlite_where": text(rows), "postgresql_where": text(rows)}


BigKey = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only in an INTEGER column."""


class Base(DeclarativeBase):
    """Everything that lives in SQL."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: Instant,
        Document: JSON(none_as_null=True),
        list[str]: JSON,
        JobState: _word(JobState),
        AttemptState: _word(AttemptState),
        ServiceState: _word(ServiceState),
        SlotKind: _word(SlotKind),
        FailureKind: _word(FailureKind),
        StopOn: _word(StopOn),
        Until: _word(Until),
        TargetKind: _word(TargetKind),
        DeliveryState: _word(DeliveryState),
        Retirable: _word(Retirable),
    }
