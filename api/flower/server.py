"""Flower as a program of ours: its pages and its API, both checked by the gate, configured only by our settings."""

import logging
import signal
from base64 import b64encode
from typing import Any

from celery import Celery
from celery.app.control import Control
from flower.app import Flower
from flower.options import options
from flower.urls import settings as flower_settings
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform, RequestHandler, stream_request_body

from api.flower.gate import LOOPBACK, Gate, Refusal
from api.flower.password import USER, password_in
from api.flower.sessions import Sessions
from orchestrator.broker import create_app
from orchestrator.settings import Settings

log = logging.getLogger("tx81.flower")

COLUMNS = "uuid,args,state,received,runtime,worker"
"""`args` shows the job of a task, its kind and its slot; Flower hides it by default."""
_SAVE_MILLISECONDS = 10_000


class GatedFlower(Flower):  # type: ignore[misc]  # Flower has no types
    """Flower, which receives only the requests that the gate accepts."""

    def __init__(self, gate: Gate, celery: Celery) -> None:
        super().__init__(options=options, capp=celery, transforms=[_OwnHeaders], **flower_settings)
        self._gate = gate
        self._known = "Basic " + b64encode(f"{gate.user}:{gate.password}".encode()).decode()

    def find_handler(self, request: HTTPServerRequest, **more: object) -> object:
        """Tornado calls this for every request, once its headers have arrived."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        refusal = self._gate.refusal(request.method or "", request.path, headers)
        if refusal is None:
            request.headers["Authorization"] = self._known  # Flower asks for it too, also where a session let it in
            return super().find_handler(request, **more)
        return self.get_handler_delegate(request, _Refused, {"refusal": refusal})


class NamedControl(Control):  # type: ignore[misc]  # Celery has no types
    """Celery's remote control, whose revokes say by whom (`workers.revokes`)."""

    def __init__(self, app: Celery, *, by: str) -> None:
        super().__init__(app)
        self._by = by

    def revoke(self, task_id: Any, *args: Any, **more: Any) -> Any:
        """Called by the buttons and the API of Flower."""
        return super().revoke(task_id, *args, **more, by=self._by)


@stream_request_body
class _Refused(RequestHandler):
    """Answers before the body arrives, and reads none of it."""

    def initialize(self, refusal: Refusal) -> None:
        self._refusal = refusal

    def check_xsrf_cookie(self) -> None:
        pass

    def prepare(self) -> None:
        self.set_status(self._refusal.status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("Connection", "close")
        if self._refusal.status == 401:
            self.set_header("WWW-Authenticate", 'Basic realm="Flower", charset="UTF-8"')
        self.finish(self._refusal.detail + "\n")

    def data_received(self, chunk: bytes) -> None:
        pass


class _OwnHeaders(OutputTransform):
    """On every answer: no page of another origin may read it or show it in a frame."""

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        for name in [name for name in headers if name.lower().startswith("access-control-")]:
            del headers[name]
        headers["Content-Security-Policy"] = "frame-ancestors 'none'"
        headers["X-Frame-Options"] = "DENY"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return status_code, headers, chunk


def serve(settings: Settings) -> None:
    """Serve Flower on the configured address until SIGTERM or SIGINT. OSError if the port cannot be used."""
    folder = settings.flower
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = settings.flower_password.get_secret_value() or password_in(folder)
    names = LOOPBACK | {settings.flower_address} | {name.lower() for name in settings.flower_names}
    gate = Gate(
        user=USER, password=password, names=names, control=settings.flower_control,
        scopes_of=Sessions(settings).scopes_of,
    )  # fmt: skip
    options.address = settings.flower_address
    options.port = settings.flower_port
    options.basic_auth = [f"{USER}:{password}"]  # without it Flower's API refuses everything
    options.read_only = not gate.control
    options.tasks_columns = COLUMNS
    options.persistent = True
    options.db = str(folder / "flower.db")
    options.state_save_interval = _SAVE_MILLISECONDS
    celery = create_app(settings.broker_url)
    celery.control = NamedControl(celery, by=f"flower {gate.user}")
    flower = GatedFlower(gate, celery)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: flower.io_loop.add_callback_from_signal(flower.stop))
    flower.start_http_server()
    log.info("Flower on %s:%d, %s", options.address, options.port, "read-only" if options.read_only else "with control")
    flower.start()
