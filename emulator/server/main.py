"""`openai_completion_server.py`: one model on one to eight card groups, behind OpenAI's HTTP interface.

The cards are held from before the server is ready until it ends; SIGINT and SIGTERM end it regularly (exit 0): running
answers are aborted with the finish reason `abort`, their streams end completely, waiting requests get a 503. Started
with SIGINT ignored (`nohup`, `&` in a script) it ignores SIGINT, like the real one. A failed card ends it with exit 1;
a hung one keeps it from ending on the first signal, and SIGTERM then kills it.

The guide gives defaults for flags that it calls required; they are used here. It does not say which address the port is
opened on: here it is `--host`, 127.0.0.1 if not given, so that nothing emulated is reachable from a network by default.
It does not say either whether server or client writes `TX8_online_batchsize_…log`: here both do, the server one for
each card group (`bid`).
"""

import errno
import signal
import threading
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from emulator.cards.group import CardGroup
from emulator.engine.deployed import require_engine
from emulator.engine.kcore import Session
from emulator.engine.loading import Loaded, load
from emulator.runs.answers import RunLog, timestamp
from emulator.runs.selection import card_groups, require_cards, spelled
from emulator.server.answering import Answering
from emulator.server.endpoint import Endpoint
from emulator.server.lanes import Lane, Lanes
from emulator.tool import Failed, Parser, Refused, between, complain, require_conda, run, say
from emulator.tree import GROUP, Precision, Tree, this_tree

_TOOL = "openai_completion_server.py"
_QUEUE_LIMIT = 64
"""Requests that may wait while every group is at work: eight for each of the eight groups."""
_PATIENCE = 0.5
"""Seconds after a signal in which a group that is not hung is certain to have ended its token."""
_LARGEST = 1 << 20


def main(argv: Sequence[str]) -> int:
    """Serve until a signal, as the guide's chapter on online inference does."""
    tree, options = this_tree(), _parser().parse_args(argv)
    require_conda("tx8_txnn")
    require_engine(tree)
    groups = card_groups(options.card_num)
    require_cards(groups, GROUP)
    if options.tp_size != GROUP:
        raise Refused(f"-ts {options.tp_size}: the kcore is compiled for {GROUP}")
    loaded = load("--model", Path(options.model), Path(options.case_dir))
    _require_dtype(loaded, options.model_dtype)
    with ExitStack() as stack:
        lanes = Lanes(queue_limit=_QUEUE_LIMIT)
        answering = Answering(loaded, lanes, name=options.model, longest=_longest(loaded, options))
        endpoint = stack.enter_context(_bound(options.host, options.port, answering))
        for lane in _opened(stack, tree, loaded, groups, options):
            lanes.add(lane)
        _serve(endpoint, answering)
    if answering.trouble is not None:
        raise answering.trouble
    return 0


def _parser() -> Parser:
    parser = Parser(_TOOL)
    parser.flag("--model", required=True, help="folder of the weights, with the TX81 config.json")
    parser.flag("--device", required=True, choices=("txcpu",))
    parser.flag("--load_format", required=True, choices=("tx",))
    parser.flag("--num_gpu_blocks_override", type=between(1, _LARGEST), default=512)
    parser.flag("--block_size", type=between(1, _LARGEST), default=16)
    parser.flag("-ts", "--tp-size", type=between(1, 32), default=GROUP)
    parser.flag("-cd", "--case-dir", required=True, help="folder of kcore.bin")
    parser.flag("--port", type=between(0, 65535), default=8000, help="0 takes any free one")
    parser.flag("--host", default="127.0.0.1")
    parser.flag("-cn", "--card-num", default="0,1,2,3", help="groups like 0..3,8..11, or 0..31 for all")
    parser.flag("--max-model-len", type=between(1, _LARGEST), required=True)
    parser.flag("--model-dtype", choices=("bfloat16", "int8"), default="bfloat16")
    return parser


def _require_dtype(loaded: Loaded, dtype: str) -> None:
    compiled = "int8" if loaded.kcore.manifest["precision"] == Precision.INT8 else "bfloat16"
    if dtype != compiled:
        raise Refused(f"--model-dtype {dtype}: the kcore is compiled for {compiled}")


def _longest(loaded: Loaded, options: Namespace) -> int:
    """Tokens one conversation can have: what was asked for, what the cache holds, what was compiled."""
    cache = options.num_gpu_blocks_override * options.block_size
    return int(min(options.max_model_len, cache, loaded.kcore.dims.max_sequence))


@contextmanager
def _bound(host: str, port: int, answering: Answering) -> Iterator[Endpoint]:
    """The port, ours but not yet open: nobody is to connect before the cards are there."""
    endpoint = Endpoint(host, port, answering)
    try:
        with _port_trouble(host, port):
            endpoint.server_bind()
        yield endpoint
    finally:
        endpoint.server_close()


@contextmanager
def _port_trouble(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Failed(f"port {port} of {host} is in use: Address already in use; choose another --port") from None
        raise Failed(f"port {port} of {host} cannot be opened: {error.strerror or error}") from None


def _opened(
    stack: ExitStack, tree: Tree, loaded: Loaded, groups: list[list[int]], options: Namespace
) -> Iterator[Lane]:
    """One lane for each group; whatever happens, its cards are closed before its session and its log."""
    stamp = timestamp()
    for number, cards in enumerate(groups):
        name = f"TX8_online_batchsize_{len(groups)}_quest_served_bid_{number}_{stamp}.log"
        log = stack.enter_context(RunLog(Path.cwd() / name))
        log.facts(
            "Inference info:",
            {"hf_dir": options.model, "case_dir": options.case_dir, "tp_size": GROUP, "cards": spelled(cards)},
        )
        session = stack.enter_context(Session(loaded.kcore, loaded.weights))
        group = CardGroup(tree, cards)
        stack.callback(group.close)
        group.open(_TOOL)
        yield Lane(number, group, session, log)


def _serve(endpoint: Endpoint, answering: Answering) -> None:
    """Answer until a signal comes or a card fails, then leave nothing half said."""
    host, port = str(endpoint.server_address[0]), int(endpoint.server_address[1])
    with _port_trouble(host, port):
        endpoint.server_activate()
    accepting = threading.Thread(target=endpoint.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        accepting.start()
        say("INFO:     Application startup complete.")
        say(f"INFO:     Uvicorn running on http://{host}:{port} (Press CTRL+C to quit)")
        answering.ended.wait()
    except KeyboardInterrupt:
        say("INFO:     Shutting down")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    answering.lanes.close()
    answering.stop.set()
    endpoint.shutdown()
    accepting.join()
    if not endpoint.quiet(within=_PATIENCE):
        complain("<current backtrace> #0 itxStreamSynchronize #1 txStreamSynchronize")
        endpoint.quiet()
    say("INFO:     Application shutdown complete.")


if __name__ == "__main__":
    raise SystemExit(run(main))
