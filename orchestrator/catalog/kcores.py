"""What the rows and the store know of a kernel image, and the refusal of one that was made for something else.

A job that names a kcore which does not fit would run for a while and fail, or answer as another model: the weights of a
kernel image are part of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.errors import BadSpec
from orchestrator.model.kcores import (
    MODEL_INFO,
    MODEL_INFO_LIMIT,
    BadKcore,
    KcoreFacts,
    chips_in,
    lacks_weights,
    misfit_of_cards,
    misfit_of_dtype,
    misfit_of_length,
    misfit_of_parallel_size,
    misfit_of_precision,
    too_few_blocks,
)
from orchestrator.model.profile import KindProfile, Profile
from orchestrator.model.spec_words import InputSource
from orchestrator.model.specs import (
    CanarySpec,
    CompileSpec,
    ConvertSpec,
    InferSpec,
    JobOutput,
    JobRequest,
    ServeSpec,
    StoredArtifact,
)
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.tables import Artifact, Job, JobInput, Model, Release


@dataclass(frozen=True)
class Origin:
    """What a kernel image was made from, as far as it is known."""

    facts: KcoreFacts = field(default_factory=KcoreFacts)
    gm: str | None = None
    """Digest of the quantised weights."""


UNKNOWN = Origin()


def chips_in_tree(store: ArtifactStore, digest: str) -> int | None:
    """How many cards a stored kernel image was compiled for; None where it does not tell."""
    if not store.is_tree(digest):
        return None
    info = next((entry for entry in store.entries(digest) if entry.path == MODEL_INFO), None)
    if info is None or info.size > MODEL_INFO_LIMIT:
        return None
    try:
        return chips_in(store.read_entry(digest, MODEL_INFO, most=MODEL_INFO_LIMIT))
    except BadKcore:
        return None


def refuse_cards(store: ArtifactStore, digest: str, cards: str | None, *, at: str = "spec.kcore") -> None:
    """BadSpec if a stored kernel image was compiled for another number of cards than a job runs on."""
    told = misfit_of_cards(chips_in_tree(store, digest), cards)
    if told is not None:
        raise BadSpec(told, field=at)


def cards_of(spec: InferSpec | CanarySpec | ServeSpec) -> str | None:
    """The cards that a spec names; a canary has those of its slot."""
    return None if isinstance(spec, CanarySpec) else spec.cards


class Kcores:
    """The kernel images that the requests of one submission name, as one session sees them; their files are not read.

    `release` gives name and profile of the release that a request names, `model` the row of a registered model.
    """

    def __init__(
        self,
        session: Session,
        siblings: Mapping[str, JobRequest],
        *,
        release: Callable[[str | None], tuple[str, Profile]],
        model: Callable[[str], Model],
    ) -> None:
        self._session = session
        self._siblings = siblings
        self._release = release
        self._model = model
        self._origin = cache(self._found)

    def refuse_unfit(self, spec: InferSpec | CanarySpec | ServeSpec, kind: KindProfile) -> None:
        """BadSpec if the kcore is known to be for another model, precision, number of cards or length, or to need what
        the job does not give. `kind` says how the release runs the job."""
        origin = self._origin("kcore", spec.kcore)
        told = misfit_of_cards(origin.facts.chips, cards_of(spec))
        told = told or misfit_of_precision(origin.facts.precision, has_gm=spec.gm is not None)
        if isinstance(spec, ServeSpec):
            told = told or misfit_of_dtype(origin.facts.precision, spec.dtype)
        if told is not None:
            raise BadSpec(told, field="spec.kcore")
        self._refuse_other_weights(spec, origin)
        takes_gm = "gm" in kind.copy_in or "gm" in kind.optional
        _refuse("gm", lacks_weights(origin.facts.precision, has_gm=spec.gm is not None) if takes_gm else None)
        if kind.model_config_file == "tx81":
            _refuse("model", misfit_of_parallel_size(self._model(spec.model).tx81_config, cards_of(spec)))
        if isinstance(spec, ServeSpec):
            length = spec.max_model_len
            _refuse("max_model_len", misfit_of_length(origin.facts.sequence, length))
            blocks = too_few_blocks(blocks=spec.gpu_blocks, block_size=spec.block_size, max_model_len=length)
            _refuse("gpu_blocks", blocks)

    def stored(self, spec: InferSpec | CanarySpec | ServeSpec) -> str | None:
        """Digest of the kcore, where that is made by now: `refuse_cards` reads what its files tell."""
        return self._digest("kcore", spec.kcore)

    def _refuse_other_weights(self, spec: InferSpec | CanarySpec | ServeSpec, origin: Origin) -> None:
        made_from = origin.facts.model
        if (
            made_from is not None
            and made_from != spec.model
            and _differ(self._model(made_from), self._model(spec.model))
        ):
            raise BadSpec(
                f"the kcore was compiled from model {made_from}, and {spec.model} has other weights: compile it",
                field="spec.kcore",
            )
        given = None if spec.gm is None else self._digest("gm", spec.gm)
        if None not in (given, origin.gm) and given != origin.gm:
            raise BadSpec(
                "the kcore was not compiled from these quantised weights: give those that its conversion used",
                field="spec.gm",
            )

    def _found(self, name: str, source: InputSource) -> Origin:
        """Of the kcore, or of the C source, that `source` names."""
        if isinstance(source, JobOutput) and isinstance(source.job, str):
            return self._origin_in_submission(source.job)
        if isinstance(source, JobOutput) and isinstance(source.job, int):
            return self._origin_of_job(source.job)
        return self._origin_of_stored(name, source.digest) if isinstance(source, StoredArtifact) else UNKNOWN

    def _origin_in_submission(self, name: str) -> Origin:
        request = self._siblings.get(name)
        match request.spec if request is not None else None:
            case CompileSpec() as compiling:
                return self._origin("c_source", compiling.c_source)
            case ConvertSpec() as converting:
                assert request is not None
                _, profile = self._release(request.release)
                gm = None if converting.gm is None else self._digest("gm", converting.gm)
                return Origin(_facts_of(converting.model, converting.backend_type, profile), gm)
        return UNKNOWN

    def _origin_of_job(self, number: int) -> Origin:
        job = self._session.get(Job, number)
        if job is None:
            return UNKNOWN
        inputs = {
            entry.name: entry for entry in self._session.scalars(select(JobInput).where(JobInput.job_id == number))
        }
        if job.kind == "compile" and "c_source" in inputs:
            source = inputs["c_source"]
            if source.from_job_id is not None:
                return self._origin_of_job(source.from_job_id)
            return self._origin_of_stored("c_source", source.digest or "")
        if job.kind == "convert":
            profile = Profile.model_validate(self._session.get_one(Release, job.release).profile)
            gm = inputs["gm"].digest if "gm" in inputs else None
            return Origin(_facts_of(job.spec["model"], job.spec["backend_type"], profile), gm)
        return UNKNOWN

    def _origin_of_stored(self, name: str, digest: str) -> Origin:
        rows = self._session.execute(
            select(Artifact.job_id, Artifact.facts)
            .where(Artifact.digest == digest, Artifact.name == name)
            .order_by(Artifact.id)
        ).all()
        made_by = next((job_id for job_id, _ in rows if job_id is not None), None)
        if made_by is not None:
            return self._origin_of_job(made_by)
        told = next((facts for _, facts in rows if facts is not None), {})
        return Origin(KcoreFacts.model_validate({name: told.get(name) for name in KcoreFacts.model_fields}))

    def _digest(self, name: str, source: InputSource) -> str | None:
        """What is named, where that is stored by now."""
        if isinstance(source, StoredArtifact):
            return source.digest
        number = source.job if isinstance(source, JobOutput) else None
        return self.made(name, number) if isinstance(number, int) else None

    def made(self, name: str, job: int) -> str | None:
        """Digest of what a job has made by now."""
        made = select(Artifact.digest).where(Artifact.job_id == job, Artifact.name == name)
        return self._session.scalars(made.order_by(Artifact.id.desc()).limit(1)).first()


def _refuse(field: str, told: str | None) -> None:
    if told is not None:
        raise BadSpec(told, field=f"spec.{field}")


def _facts_of(model: str, backend_type: str, profile: Profile) -> KcoreFacts:
    """What a conversion says of the kernel image that comes of it."""
    backend = profile.backend_types.get(backend_type)
    return KcoreFacts(model=model, precision=None if backend is None else backend.precision)


def _differ(one: Model, other: Model) -> bool:
    """Whether two models are known to have different weights; their other files do not matter."""
    if one.weights is not None and other.weights is not None:
        return one.weights != other.weights
    return one.family != other.family
