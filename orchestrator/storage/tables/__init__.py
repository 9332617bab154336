"""Every mapped class: importing this gives all tables, so that `Base.metadata` is complete.

What a column promises is said at its class; what may change a job or an attempt, in `orchestrator.jobs.lifecycle`.
Start with `jobs.py` and `slots.py`.
"""

from orchestrator.storage.tables.access import IdempotencyRecord, JobList, SignInLink, Token, WebSession
from orchestrator.storage.tables.base import Base, Document
from orchestrator.storage.tables.baselines import Baseline, BaselineRun
from orchestrator.storage.tables.cases import Case, CaseEntry, CaseSeries
from orchestrator.storage.tables.catalog import Artifact, CheckedRelease, Model, Release, Retirement
from orchestrator.storage.tables.jobs import (
    SLOT_HISTORY,
    Attempt,
    Batch,
    Endpoint,
    Event,
    Job,
    JobInput,
    JobNeed,
    Lease,
    Pipeline,
)
from orchestrator.storage.tables.notifications import Delivery, NotificationTarget
from orchestrator.storage.tables.results import Answer, Doubt, LogChunk, Metric
from orchestrator.storage.tables.scheduling import Leader, Line, Project
from orchestrator.storage.tables.slots import Canary, Host, Reservation, ReservationSlot, Slot
from orchestrator.storage.tables.suites import Schedule, ScheduleFiring, Suite, SuiteJob, SuiteRun, SuiteVersion
from orchestrator.storage.tables.triage import Triage

__all__ = [
    "SLOT_HISTORY",
    "Answer",
    "Artifact",
    "Attempt",
    "Base",
    "Baseline",
    "BaselineRun",
    "Batch",
    "Canary",
    "Case",
    "CaseEntry",
    "CaseSeries",
    "CheckedRelease",
    "Delivery",
    "Document",
    "Doubt",
    "Endpoint",
    "Event",
    "Host",
    "IdempotencyRecord",
    "Job",
    "JobInput",
    "JobList",
    "JobNeed",
    "Leader",
    "Lease",
    "Line",
    "LogChunk",
    "Metric",
    "Model",
    "NotificationTarget",
    "Pipeline",
    "Project",
    "Release",
    "Reservation",
    "ReservationSlot",
    "Retirement",
    "Schedule",
    "ScheduleFiring",
    "SignInLink",
    "Slot",
    "Suite",
    "SuiteJob",
    "SuiteRun",
    "SuiteVersion",
    "Token",
    "Triage",
    "WebSession",
]
