"""Reference answers that a person wrote, another machine computed, or a job gave."""

from pathlib import Path

from pydantic import Field, model_validator
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from orchestrator.catalog.imported_artifacts import FileName, name_it, require_model
from orchestrator.catalog.paths import allowed_path
from orchestrator.catalog.text_files import read_text_file, safe_name
from orchestrator.catalog.uploads import ANYBODY, Sender, Uploads
from orchestrator.errors import BadSpec, NotFound, PathRefused
from orchestrator.model.specs import AbsolutePath, Digest, FilePath, Name, StoredArtifact, Strict
from orchestrator.results.goldens import Format, document, paired
from orchestrator.results.text_files import FILE_LIMIT, prompts_in, text_of
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Answer, Artifact, Attempt, Job


class GoldenImport(Strict):
    """Take in reference answers: a file with one for each of the prompts, or what a job has answered."""

    path: AbsolutePath | None = None
    upload: Digest | None = Field(default=None, description="Instead of path: of a file that was uploaded.")
    file_name: FileName | None = Field(default=None, description="With upload: what the file is called.")
    prompts: FilePath | StoredArtifact | None = None
    format: Format = "auto"
    job: int | None = Field(default=None, ge=1, le=2**63 - 1, description="Its answers, of the first repeat and batch.")
    model: Name | None = Field(default=None, description="The registered model whose answers they are.")

    @model_validator(mode="after")
    def _one_source(self) -> "GoldenImport":
        if sum(given is not None for given in (self.path, self.upload, self.job)) != 1:
            raise ValueError("give one of path, upload and job")
        if (self.prompts is None) != (self.job is not None):
            raise ValueError("prompts is required with path or upload, and refused with job, which has its own prompts")
        if self.file_name is not None and self.upload is None:
            raise ValueError("file_name is only allowed with upload")
        return self


class GoldenImports:
    """Takes reference answers into the store, as the JSON lines that `golden` inputs are."""

    def __init__(self, settings: Settings, database: Database, store: ArtifactStore) -> None:
        self._settings = settings
        self._database = database
        self._store = store

    def take_in(self, request: GoldenImport, sender: Sender = ANYBODY) -> Artifact:
        """Store one answer for each prompt; BadSpec names the line, or the prompt, that is at fault."""
        require_model(self._database, request.model)
        if request.job is not None:
            pairs, model = self._answered(request.job)
            source = f"job-{request.job}"
        else:
            pairs, source = self._written(request, sender)
            model = None
        stored = self._store.put_bytes(document(pairs))
        facts = {"model": request.model or model, "answers": len(pairs), "source": source}
        name = safe_name(Path(f"{Path(source).stem}.golden.jsonl"))
        return name_it(self._database, stored, name="golden", file_name=name, facts=facts)

    def _written(self, request: GoldenImport, sender: Sender) -> tuple[list[tuple[str, str]], str]:
        assert request.prompts is not None
        if request.upload is not None:
            field, named = "upload", Path(request.file_name or "answers")
            content = Uploads(self._settings).content(request.upload, sender, most_bytes=FILE_LIMIT)
        else:
            assert request.path is not None
            field, named = "path", self._file(request.path, "path")
            content = read_text_file(named, field)
        text = text_of(content, field)
        if not text.strip():
            raise BadSpec("the file holds no answer", field=field)
        pairs = paired(text, self._prompts(request.prompts), request.format, field=field)
        if request.upload is not None:
            Uploads(self._settings).discard(request.upload, sender)
        return pairs, safe_name(named)

    def _prompts(self, source: FilePath | StoredArtifact) -> list[str]:
        if isinstance(source, FilePath):
            return prompts_in(read_text_file(self._file(source.path, "prompts.path"), "prompts.path"), "prompts.path")
        if not self._store.exists(source.digest) or self._store.is_tree(source.digest):
            raise BadSpec(f"no file {source.digest} is stored", field="prompts.digest")
        if self._store.size(source.digest) > FILE_LIMIT:
            raise BadSpec("that artifact is too large for a file of prompts", field="prompts.digest")
        with self._store.open(source.digest) as stored:
            return prompts_in(stored.read(), "prompts.digest")

    def _file(self, text: str, field: str) -> Path:
        path = allowed_path(self._settings, text, field)
        if not path.is_file():
            raise PathRefused(f"{text} is not a file", field=field)
        return path

    def _answered(self, number: int) -> tuple[list[tuple[str, str]], str]:
        with self._database.read() as session:
            job = session.get(Job, number)
            if job is None:
                raise NotFound(f"there is no job {number}", job=number)
            rows = _answers(session, number)
            if not rows:
                raise BadSpec(f"job {number} has no answers: it is {job.kind}, and {job.state}", field="job")
            return rows, str(job.spec.get("model"))


def _answers(session: Session, job: int) -> list[tuple[str, str]]:
    """Those of the latest attempt that has some: answers that a golden calls wrong may be those of the next one."""
    answered = select(Attempt.id).where(Attempt.job_id == job, exists().where(Answer.attempt_id == Attempt.id))
    first = select(Answer.question, Answer.text).where(
        Answer.attempt_id == answered.order_by(Attempt.number.desc()).limit(1).scalar_subquery(),
        Answer.repeat == 1,
        Answer.batch == 0,
    )
    return [(question, answer) for question, answer in session.execute(first.order_by(Answer.index))]
