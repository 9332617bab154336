"""`python -m api.flower`."""

from tx81.start import begin_service, modules_loaded

if __name__ == "__main__":
    begin_service()  # before anything that reads the environment is imported


import logging
import sys

from api.flower.server import serve
from orchestrator.settings import settings_of_service


def main() -> None:
    """Serve until a stop signal."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        datefmt="%Y-%m-%d %H:%M:%S%z",
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # Tornado logs a line for each request, also for pages that poll every few seconds.
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    settings = settings_of_service()
    try:
        serve(settings)
    except OSError as trouble:  # of the folder, or of the address
        place = trouble.filename or f"{settings.flower_address}:{settings.flower_port}"
        variables = "TX81_FLOWER_DIR" if trouble.filename else "TX81_FLOWER_ADDRESS, TX81_FLOWER_PORT"
        sys.exit(f"{variables}: {place}: {trouble.strerror}")


if __name__ == "__main__":
    modules_loaded()
    main()
