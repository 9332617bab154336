"""Signing in with a token or a link, and out."""

import re

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from api.context import Given
from api.http.cookies import forget_session, keep_session, session_of
from api.pages.guard import Fields, OpenPageRoute, one, pages
from api.pages.rendering import render
from orchestrator import sign_ins
from orchestrator.errors import Forbidden, OrchestratorError, Unauthenticated

router = pages(OpenPageRoute)
inside = pages()

_HERE = re.compile(r"/(?![/\\])[^\x00-\x20\\]*")
"""An address on this server: neither `//elsewhere` nor `/\\elsewhere`, which browsers read as other hosts."""


@router.get("/sign-in")
def show_sign_in(request: Request) -> Response:
    """The form; its script uses the link whose code is behind the # of the address."""
    if request.headers.get("sec-fetch-site") == "cross-site":
        # The browser keeps our cookie to itself when a link of another site leads here. Loading the page once more
        # from here sends it.
        return render(request, "again.html", wanted=_wanted(request.query_params.get("next")))
    return render(request, "sign_in.html", wanted=_wanted(request.query_params.get("next")), refused=None)


@router.post("/sign-in")
def sign_in(request: Request, context: Given, fields: Fields) -> Response:
    """Exchange a token, or the code of a link, for a session."""
    wanted = _wanted(one(fields, "next"))
    try:
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Forbidden("a page of another site cannot sign you in")
        code = one(fields, "code")
        if code is not None:
            secret = sign_ins.use_link(context.database, code)
        else:
            secret = sign_ins.sign_in(context.database, (one(fields, "token") or "").strip())
    except (Unauthenticated, Forbidden) as refused:
        return _refused(request, wanted, refused)
    response = RedirectResponse(wanted, 303)
    keep_session(response, request, secret)
    return response


@inside.post("/sign-out", openapi_extra={"x-scope": "viewer"})
def sign_out(request: Request, context: Given) -> Response:
    """End the session, here and on the server."""
    sign_ins.sign_out(context.database, session_of(request) or "")
    response = Response(status_code=204, headers={"HX-Redirect": "/sign-in"})
    forget_session(response, request)
    return response


def _refused(request: Request, wanted: str, refused: OrchestratorError) -> Response:
    status = 401 if isinstance(refused, Unauthenticated) else 403
    return render(request, "sign_in.html", status, wanted=wanted, refused=refused)


def _wanted(address: str | None) -> str:
    return address if address is not None and _HERE.fullmatch(address) else "/"
