"""Every knob: its type, its unit, its reason. Set by environment variables `TX81_…`."""

import platform
import re
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from tx81.state import private_state

SHIPPED_PROFILES = Path(__file__).with_name("profiles")


def _seconds(value: Any) -> Any:
    return float(value) if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value) else value


Seconds = Annotated[timedelta, BeforeValidator(_seconds)]
"""A duration; in the environment a plain number of seconds."""


def _host_name() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", platform.node().split(".")[0])[:63] or "localhost"


def check_addresses(settings: "Settings") -> None:
    """BadSettings if database or broker cannot be reached by what names them.

    Not part of `Settings`: `tx81 up` names its own, whatever the caller's environment has in these variables."""
    database, broker = settings.database, settings.broker_url
    if not re.match(r"(sqlite:///|postgres(ql)?(\+psycopg)?://)", database):
        expected = "postgresql://USER:PASSWORD@HOST/DATABASE or sqlite:////FOLDER/FILE"
        raise BadSettings(f"TX81_DATABASE_URL: expected {expected}")
    if not re.match(r"(rediss?(\+socket)?|sentinel|memory)://", broker):
        raise BadSettings("TX81_BROKER_URL: expected redis://:PASSWORD@HOST:6379/0, rediss:// or redis+socket://PATH")
    for name, url in (("TX81_DATABASE_URL", database), ("TX81_BROKER_URL", broker)):
        if not url.startswith("redis+socket:") and not _has_a_port(url):
            # Without a word of what is there instead: it may be part of a password.
            raise BadSettings(f"{name}: no port after the host; percent-encode / ? # @ : % in a password")


def _has_a_port(url: str) -> bool:
    """Whether what stands for a port in a URL is one, or nothing does."""
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    port = re.search(r":([^:\]]*)$", authority.rpartition("@")[2])
    return not port or not port[1] or (port[1].isascii() and port[1].isdigit() and int(port[1]) < 1 << 16)


def url_of_sqlite(file: Path) -> str:
    """The SQLAlchemy URL of an SQLite database, whatever is in its path: `?`, `%`, `#`, blanks, Chinese."""
    return f"sqlite:///{quote(str(file), safe=' +/')}"


class BadSettings(Exception):
    """A variable cannot be used; the text names it and says what is expected, in one line."""


def load_settings() -> "Settings":
    """The settings of the environment; BadSettings."""
    try:
        return Settings()
    except ValidationError as error:
        problem = error.errors()[0]
        name = "_".join(str(part) for part in problem["loc"][:1]).upper()
        within = "".join(f"[{part!r}]" for part in problem["loc"][1:])
        what = problem["msg"].removeprefix("Value error, ")
        if problem["type"] != "value_error" and not name.endswith(("URL", "PASSWORD")):
            what = f"{what}, not {problem['input']!r:.100}; see docs/settings.md"
        raise BadSettings(f"TX81_{name}{within}: {what}" if name else what) from None
    except SettingsError as error:
        found = re.search(r'field "(\w+)"', str(error))
        name = found[1].upper() if found else "…"
        raise BadSettings(
            f"TX81_{name}: not JSON; lists and tables are written as JSON, e.g. TX81_ALLOWED_ROOTS='[\"/models\"]'"
        ) from None


def settings_of_service(*, make_state: bool = False) -> "Settings":
    """For the entry point of a service: settings, and a state folder that is private if it is there or to be made.

    What cannot be used ends the process with one line and exit code 2."""
    try:
        settings = load_settings()
        check_addresses(settings)
        if make_state or settings.state_dir.exists():
            private_state(settings.state_dir.absolute())
        return settings
    except BadSettings as trouble:
        problem = str(trouble)
    except OSError as trouble:
        problem = f"TX81_STATE_DIR: {trouble.filename}: {trouble.strerror}; set it to a folder that you can write to"
    print(problem, file=sys.stderr)
    sys.exit(2)


class Settings(BaseSettings):
    """What every process of one installation agrees on."""

    model_config = SettingsConfigDict(env_prefix="TX81_", extra="ignore", frozen=True)

    state_dir: Path = Path(".tx81")
    """Where the embedded database, the store and the working folders live unless named below."""

    database_url: str = ""
    """SQLAlchemy URL; empty means SQLite in `state_dir`."""

    database_url_file: Path | None = None
    """A file with the database URL instead, which only the services may read."""

    broker_url: str = "redis://127.0.0.1:6379/0"
    """Celery's broker: Redis >= 6.2 or Valkey >= 8."""

    broker_url_file: Path | None = None
    """A file with the broker's URL instead, which only the services may read."""

    tool_user: str = ""
    """The user (name or number) that tools run as on this host; empty: the worker's own, from which nothing is safe."""

    store_dir: Path | None = None
    """The artifact store: a directory that every host sees at this path."""

    work_dir: Path | None = None
    """Working folders of attempts, local to the host and on one file system with the store if possible (hard links)."""

    devices_dir: Path = Path("/dev/accel")
    """The folder that holds `dev-0` … `dev-31`."""

    disk_reserve: int = Field(default=64 * 1024 * 1024, ge=0)
    """A host whose working folders or store have fewer bytes left gets no jobs until they have them again."""

    lock_dir: Path | None = None
    """Where slots are locked on this host. All workers of one set of cards must share it."""

    allowed_roots: tuple[Path, ...] = ()
    """Models, prompts and releases are only read below these folders; empty means none."""

    start_folder: Path | None = None
    """The folder in which `tx81 up` was started: what is below it may be read too, but for hidden files and folders."""

    profile_dirs: tuple[Path, ...] = (SHIPPED_PROFILES,)
    """Folders with toolchain profiles (`*.yaml`); the shipped ones are known besides, as the last."""

    release_roots: dict[str, Path] = {}
    """Where releases are installed on this host, by name, if not at the folder that they were registered with."""

    golden_python: Path | None = None
    """Interpreter that has transformers and torch, for golden jobs on this host; the worker's own if absent."""

    host: str = Field(default_factory=_host_name)
    """This host's name, as queues and slots are called."""

    address: str = "127.0.0.1"
    """Where others reach this host: a name or an IPv4 address. Servers on its cards listen there."""

    serve_ports: tuple[int, int] = (20000, 29999)
    """The first and the last port that servers on this host may have: below those that the kernel gives to clients."""

    endpoint_hosts: tuple[str, ...] = ()
    """Servers that were not started here and that clients may ask: `HOST:PORT`, or `HOST` for all its ports."""

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8081, ge=0, le=65535)
    token_file: Path | None = None
    """Where the first start leaves the admin token (mode 600)."""

    flower_address: str = "127.0.0.1"
    """Where Flower listens."""

    flower_port: int = Field(default=5555, ge=0, le=65535)

    flower_dir: Path | None = None
    """Where Flower keeps what it has seen, and its password: read and written by Flower alone."""

    flower_password: SecretStr = SecretStr("")
    """Of Flower's user `tx81`; if empty, the first start leaves a random one in the file `password` (mode 600)."""

    flower_names: tuple[str, ...] = ()
    """By which Flower is reached besides loopback, e.g. behind a proxy; a request for another name is refused."""

    flower_control: bool = False
    """Whether Flower may control workers and cancel attempts, or only show them."""

    flower_link: Annotated[str, Field(pattern=r"^(:[0-9]{1,5}|https?://[^\s\"'<>]{1,300})?$")] = ""
    """Flower as browsers reach it, linked by the pages: an address, or `:5555` of the host that serves the pages."""

    models_dir: Path | None = None
    """Where uploaded models are unpacked: a directory that every host sees at this path."""

    max_upload_bytes: int = 1 << 40
    """Largest upload, and the most that an uploaded archive may hold."""

    max_body_bytes: int = 8 * 1024 * 1024
    """Largest request body; beyond it the answer is 413."""

    server_silence: Seconds = timedelta(minutes=10)
    """How long a server that was asked through the API may say nothing: the request waits there, or is worked on."""

    heartbeat: Seconds = timedelta(seconds=15)
    """How often a worker renews; a quarter of the lease, so that three lost renewals are survived."""

    lease: Seconds = timedelta(seconds=60)
    """How long an attempt keeps its slots without renewal."""

    lease_margin: Seconds = timedelta(seconds=10)
    """A worker that could not renew kills its tree this long before the lease runs out."""

    ring_again: Seconds = timedelta(seconds=10)
    """An assigned attempt that nobody claimed is rung again after this."""

    leader_term: Seconds = timedelta(seconds=10)
    """How long a dispatcher that died is waited for before another leads; a leader renews three times as often."""

    max_attempts: int = 3
    """A job fails after this many infrastructure faults; a client of a `keep` server after as many lost servers."""

    labels: dict[str, str] = {}
    """Labels of this host, e.g. {"rack": "a"}; requests may select by them."""

    share_half_life: Seconds = timedelta(days=1)
    """In which half of what a project has used is forgotten. Longer: who worked much yesterday waits today."""

    suspect_half_life: Seconds = timedelta(days=1)
    """In which half of the suspicion from earlier failures on a slot is forgotten."""

    canary_pauses: tuple[Seconds, ...] = (timedelta(seconds=10), timedelta(seconds=60), timedelta(seconds=300))
    """How long a quarantined slot waits for its first canary, its second, and so on; the last is for all the rest."""

    canary_failures: int = Field(default=3, ge=1)
    """So many canaries in a row that fail on a slot leave it to people."""

    aging: Seconds = timedelta(hours=1)
    """A queued job counts as one priority more urgent for each of these since it was submitted, up to 9."""

    notify_private: bool = True
    """Whether notifications may go to private addresses: a lab's receivers have them."""

    notify_loopback: bool = False
    """Whether notifications may go to loopback addresses, where services listen that trust this machine."""

    @field_validator("state_dir", "store_dir", "work_dir", "models_dir", "flower_dir", "token_file")
    @classmethod
    def _in_utf_8(cls, path: Path | None) -> Path | None:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise ValueError(f"{str(path)!a} is not UTF-8; choose another name") from None
        return path

    @model_validator(mode="before")
    @classmethod
    def _from_files(cls, given: Any) -> Any:
        """Read the URLs that are in files."""
        for name in ("database_url", "broker_url"):
            if isinstance(given, dict) and (file := given.get(f"{name}_file")):
                if given.get(name):
                    raise ValueError(f"{name} and {name}_file are both set: give one of them")
                try:
                    given = {**given, name: Path(file).read_text("utf-8").strip()}
                except OSError as error:
                    raise ValueError(f"{name}_file: {file} cannot be read: {error.strerror}") from None
        return given

    @field_validator("labels")
    @classmethod
    def _plain_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for word in (*labels, *labels.values()):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", word):
                raise ValueError(f"{word!r}: names and values of labels are letters, digits, '.', '-' and '_'")
        return labels

    @field_validator("address")
    @classmethod
    def _plain_address(cls, address: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", address):
            raise ValueError(f"{address!r} is not an address: give a name or an IPv4 address, without a port")
        return address

    @field_validator("endpoint_hosts")
    @classmethod
    def _plain_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for entry in hosts:
            found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:[1-9][0-9]{0,4})?", entry)
            if found is None:
                raise ValueError(f"{entry!r} is not HOST:PORT or HOST; IPv6 addresses are in brackets")
            if found[2] is None and re.fullmatch(r"localhost|127\..*|\[::1\]", found[1]):
                raise ValueError(f"{entry!r} needs a port: other services of the host listen on loopback")
        return hosts

    @field_validator("serve_ports")
    @classmethod
    def _a_range(cls, ports: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= ports[0] <= ports[1] <= 65535:
            raise ValueError("give the first and the last port: [20000, 29999]")
        return ports

    @field_validator("canary_pauses")
    @classmethod
    def _some_pause(cls, pauses: tuple[timedelta, ...]) -> tuple[timedelta, ...]:
        if not pauses or any(pause <= timedelta(0) for pause in pauses):
            raise ValueError("give at least one duration, each greater than 0: [10, 60, 300]")
        return pauses

    @field_validator("server_silence", "share_half_life", "aging", "suspect_half_life", "leader_term")
    @classmethod
    def _positive(cls, duration: timedelta) -> timedelta:
        if duration < timedelta(seconds=1):
            raise ValueError("must be at least a second")
        return duration

    @field_validator("host")
    @classmethod
    def _queue_safe(cls, host: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", host):
            raise ValueError("use letters, digits, - and _ (no dots: slots are written HOST.SLOT)")
        return host

    @model_validator(mode="after")
    def _renewable(self) -> "Settings":
        if not self.heartbeat < self.lease - self.lease_margin:
            raise ValueError(
                "TX81_HEARTBEAT must be shorter than TX81_LEASE - TX81_LEASE_MARGIN, or every attempt is lost"
            )
        return self

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or url_of_sqlite(self.state_dir.absolute() / "tx81.db")

    @property
    def store(self) -> Path:
        """The artifact store's folder."""
        return (self.store_dir or self.state_dir / "store").absolute()

    @property
    def flower(self) -> Path:
        """Flower's folder."""
        return (self.flower_dir or self.state_dir / "flower").absolute()

    @property
    def models(self) -> Path:
        """The folder of uploaded models."""
        return (self.models_dir or self.state_dir / "models").absolute()

    @property
    def readable_roots(self) -> list[Path]:
        """The folders below which models, prompts and releases may lie, with every link resolved."""
        return [root.resolve() for root in (*self.allowed_roots, self.models)]

    def may_read(self, path: Path) -> bool:
        """Whether requests may name this path, all links of which are resolved.

        A root around the state folder does not open it, since it contains the tokens."""
        return self.reading()(path)

    def reading(self) -> Callable[[Path], bool]:
        """`may_read` for many paths: the links of the roots are resolved once."""
        private, all_roots = self.state_dir.resolve(), self.readable_roots

        def may_read(path: Path) -> bool:
            roots = [root for root in all_roots if path.is_relative_to(root)]
            if path.is_relative_to(private):
                return any(root.is_relative_to(private) for root in roots)
            return bool(roots) or self._is_started_in(path)

        return may_read

    def _is_started_in(self, path: Path) -> bool:
        start = self.start_folder and self.start_folder.resolve()
        if start is None or not path.is_relative_to(start):
            return False
        return not any(part.startswith(".") for part in path.relative_to(start).parts)

    @property
    def work(self) -> Path:
        """The folder of working folders."""
        return (self.work_dir or self.state_dir / "work").absolute()

    @property
    def locks(self) -> Path:
        """The folder of slot locks: beside emulated cards, in /run/lock for real ones."""
        if self.lock_dir is not None:
            return self.lock_dir.absolute()
        real = self.devices_dir == Path("/dev/accel")
        return Path("/run/lock/tx81") if real else self.devices_dir.absolute().parent / "locks"

    @property
    def admin_token_file(self) -> Path:
        """Where the admin token of the first start is left."""
        return (self.token_file or self.state_dir / "admin-token").absolute()
