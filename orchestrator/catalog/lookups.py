"""The models and releases that requests name: found, and checked against what a kind of job needs of them.

All functions read in the caller's session and change nothing.
"""

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.catalog import retirement
from orchestrator.errors import BadSpec
from orchestrator.model.calling import how_to_run
from orchestrator.model.profile import Profile
from orchestrator.model.retirements import Retirable
from orchestrator.model.specs import CanarySpec, ConvertSpec, GoldenSpec, InferSpec, QuantizeSpec, ServeSpec
from orchestrator.storage.tables import Model, Release


def default_release(session: Session) -> Release | None:
    """The release of requests that name none; None before one is registered."""
    return session.scalars(select(Release).where(Release.is_default)).first()


def release_for(session: Session, name: str | None) -> Release:
    """The release that a request names, or the default one; BadSpec if there is none."""
    release = default_release(session) if name is None else session.get(Release, name)
    if release is None:
        named = "no default toolchain release is" if name is None else f"release {name} is not"
        raise BadSpec(f"{named} registered; see: tx81 releases", field="release")
    retirement.refuse(session, Retirable.RELEASE, release.name, field="release")
    return release


def model_for(session: Session, name: str, *, field: str = "spec.model") -> Model:
    """The model that a spec names; BadSpec if there is none."""
    model = session.get(Model, name)
    if model is None:
        raise BadSpec(f"model {name} is not registered; see: tx81 models", field=field)
    return model


def usable_model(session: Session, name: str) -> Model:
    """The model that a new job names; BadSpec if there is none, or if it is retired."""
    model = model_for(session, name)
    retirement.refuse(session, Retirable.MODEL, name, field="spec.model")
    return model


def folder_with(session: Session, digest: str) -> Path | None:
    """The folder of a registered model with this content; None if none is registered."""
    path = session.scalar(select(Model.path).where(Model.digest == digest).order_by(Model.name).limit(1))
    return None if path is None else Path(path)


def check_model(
    model: Model,
    spec: QuantizeSpec | ConvertSpec | InferSpec | CanarySpec | ServeSpec | GoldenSpec,
    profile: Profile,
) -> None:
    """BadSpec unless the model is registered with what this kind of job needs."""
    kind = how_to_run(profile, spec)
    wanted = None if kind is None else kind.model_config_file
    if wanted == "official" and model.official_config is None:
        raise BadSpec(
            f"a {spec.kind} job needs the official config.json, but model {model.name} has only the TX81 variant "
            "(param_dir); register it with official_config",
            field="spec.model",
        )
    if wanted == "tx81" and model.tx81_config is None:
        raise BadSpec(
            f"{spec.kind} jobs need the TX81 config.json (with param_dir), but model {model.name} has only the "
            "official one; register it with tx81_config",
            field="spec.model",
        )
    if isinstance(spec, ConvertSpec):
        _check_backend_type(spec, model, profile)


def _check_backend_type(spec: ConvertSpec, model: Model, profile: Profile) -> None:
    backend = profile.backend_types.get(spec.backend_type)
    if backend is None:
        raise BadSpec(
            f"release profile {profile.profile} knows no backend type {spec.backend_type!r}; "
            f"known: {', '.join(sorted(profile.backend_types))}",
            field="spec.backend_type",
        )
    if backend.family != model.family:
        raise BadSpec(
            f"backend type {spec.backend_type} is for {backend.family} models, but {model.name} is {model.family}",
            field="spec.backend_type",
        )
    if backend.precision == "quant" and spec.gm is None:
        raise BadSpec(f"backend type {spec.backend_type} needs quantised weights: give gm", field="spec.gm")
    if backend.precision != "quant" and spec.gm is not None:
        raise BadSpec(f"backend type {spec.backend_type} takes no quantised weights: omit gm", field="spec.gm")
