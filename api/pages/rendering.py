"""From a template and the documents of the API to a page."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.context import context_of
from api.pages import languages, words
from api.pages.files import files
from api.pages.viewer import Viewer, viewer_of

HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "worker-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",  # the arrows and ticks within Tabler's style sheet
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""On every page: it runs only our files, is shown in no frame, and is kept by no cache."""


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page in the viewer's language."""
    viewer = viewer_of(request)
    page = _environment(viewer.language).get_template(template)
    said = {
        "viewer": viewer,
        "here": request.url.path,
        "address": f"{request.url.path}?{request.query_params}" if request.query_params else request.url.path,
        "flower": flower_at(request),
        "server": str(request.base_url).rstrip("/"),
        **_formats(viewer),
    }
    return HTMLResponse(page.render(**said, **values), status)


def render_live(request: Request, page: str, **values: Any) -> HTMLResponse:
    """A page that renews itself: where htmx asks for it again, only the part that changes."""
    return render(request, f"{page}_live.html" if "hx-request" in request.headers else f"{page}.html", **values)


def flower_at(request: Request) -> str:
    """Flower's address for this browser; empty if the settings name none.

    On the host by which the browser came here, since it sends its session to no other one."""
    link = context_of(request).settings.flower_link
    return str(request.url.replace(path="", query="", port=int(link[1:]))) if link.startswith(":") else link


@cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    texts = languages.translations(language)
    environment.install_gettext_translations(texts, newstyle=True)  # type: ignore[attr-defined]  # added by i18n
    environment.globals.update(
        asset=lambda name: files()[name].path,
        languages=languages.LANGUAGES,
        clock=clock,
        zip=zip,
        word=lambda value: texts.gettext(words.WORDS.get(str(value), str(value))),
        shape=lambda value: words.SHAPES.get(str(value), words.UNKNOWN),
    )
    return environment


def _formats(viewer: Viewer) -> Mapping[str, Any]:
    return {
        "moment": lambda at, form="medium": languages.moment(at, viewer.language, viewer.zone, form),
        "number": lambda value: languages.number(value, viewer.language),
        "file_size": lambda count: languages.file_size(count, viewer.language),
        "now": datetime.now(UTC),
    }


def clock(seconds: float | timedelta) -> str:
    """A duration as a clock shows it: 0:07, 12:34, 1:02:03; the same in every language."""
    whole = int(max(seconds.total_seconds() if isinstance(seconds, timedelta) else seconds, 0))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
