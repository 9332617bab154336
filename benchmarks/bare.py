"""The application that the bare Celery worker of `benchmarks.latency` runs."""

import os

from benchmarks.latency import bare_celery

app = bare_celery(os.environ["BARE_BROKER"])
