"""`python -m api.flower`."""

from tx81.start import begin_service

if __name__ == "__main__":
    begin_service()  # before anything that reads the environment is imported


import logging
import sys

from api.flower.server import serve
from orchestrator.settings import Settings


def main() -> None:
    """Serve until asked to stop."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # A line for each request, also of the pages that ask again every few seconds.
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    serve(Settings())


if __name__ == "__main__":
    main()
