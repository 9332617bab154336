"""Models, releases and artifacts: what is registered and stored, sending more of it, and retiring it."""

from typing import Any
from urllib.parse import urlencode

import yaml
from fastapi import Request, Response

from api.access import Actor
from api.context import Context, Given
from api.pages.guard import Fields, checked, one, pages
from api.pages.rendering import render
from api.parameters import Cursor, DigestFilter, NameFilter, NumberFilter, Retired, ThingName
from api.routes import artifacts, endpoints, models, releases, retirements
from orchestrator.model.retirements import Retirable, Retiree, RetireRequest

router = pages()

ROWS = 100
PROFILE = 100_000
"""Characters of a profile that a page shows; with its escapes it stays below 150 KB."""


@router.get("/models")
def list_models(context: Given, request: Request, retired: Retired = False) -> Response:
    """The models in use, or the retired ones, and how many servers each has."""
    served = [endpoint.model for endpoint in endpoints.list_endpoints(context).items]
    values: dict[str, Any] = {
        "models": models.list_models(context, retired=retired).items,
        "served": {name: served.count(name) for name in set(served)},
        "retired": retired,
    }
    return render(request, "models.html", **values)


@router.get("/models/{model}")
def show_model(model: ThingName, context: Given, request: Request) -> Response:
    """One model with its configurations."""
    detail = models.show_model(model, context)
    return render(request, "model.html", model=detail, retired=_is_retired(context, Retirable.MODEL, model))


@router.get("/releases")
def list_releases(context: Given, request: Request, retired: Retired = False) -> Response:
    """The releases in use, or the retired ones, each with what its checks found."""
    found = releases.list_releases(context, retired=retired).items
    checks = {release.name: releases.list_checks(release.name, context).items for release in found[:ROWS]}
    return render(request, "releases.html", releases=found[:ROWS], checks=checks, retired=retired)


@router.get("/releases/{release}")
def show_release(release: ThingName, context: Given, request: Request) -> Response:
    """One release: how its tools are called, and what was found of them on each host."""
    detail = releases.show_release(release, context)
    values: dict[str, Any] = {
        "release": detail,
        "checks": releases.list_checks(release, context).items,
        "profile": yaml.safe_dump(detail.profile, sort_keys=False, allow_unicode=True)[:PROFILE],
        "retired": _is_retired(context, Retirable.RELEASE, release),
    }
    return render(request, "release.html", **values)


@router.get("/artifacts")
def list_artifacts(
    context: Given,
    request: Request,
    name: NameFilter | None = None,
    digest: DigestFilter | None = None,
    job: NumberFilter | None = None,
    retired: Retired = False,
    cursor: Cursor | None = None,
) -> Response:
    """Artifacts, newest first, filtered by the address."""
    found = artifacts.list_artifacts(
        context, job=job, name=name, digest=digest, retired=retired, limit=ROWS, cursor=cursor
    )
    asked = [(key, value) for key, value in request.query_params.multi_items() if key != "cursor"]
    values: dict[str, Any] = {
        "artifacts": found.items,
        "asked": dict(asked),
        "retired": retired,
        "older": found.next and f"/artifacts?{urlencode([*asked, ('cursor', found.next)])}",
        "newest": cursor and f"/artifacts?{urlencode(asked)}",
        "models": [model.name for model in models.list_models(context).items],
    }
    return render(request, "artifacts.html", **values)


@router.post("/retire", openapi_extra={"x-scope": "operator"})
def retire(context: Given, request: Request, actor: Actor, fields: Fields) -> Response:
    """Retire something: hidden from lists, and refused for new jobs."""
    told = {name: one(fields, name) for name in ("kind", "name", "note")}
    retirements.retire(checked(RetireRequest, **told), context, actor)
    return _again()


@router.post("/unretire", openapi_extra={"x-scope": "operator"})
def unretire(context: Given, request: Request, actor: Actor, fields: Fields) -> Response:
    """Use it again."""
    retirements.unretire(checked(Retiree, kind=one(fields, "kind"), name=one(fields, "name")), context, actor)
    return _again()


def _is_retired(context: Context, kind: Retirable, name: str) -> bool:
    return any((each.kind, each.name) == (kind, name) for each in retirements.list_retirements(context).items)


def _again() -> Response:
    """Have the browser load the page once more: what it lists is not the same any more."""
    return Response(status_code=204, headers={"HX-Refresh": "true"})
