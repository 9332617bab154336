"""From a request to waiting jobs: files are stored, names are looked up, then everything is written in one transaction.

A submission is there whole or not at all, and the same idempotency key makes nothing twice.
Start with `submit.py` and `steps.py`; `drafts.py` checks and is the only place that builds a job's columns, `rows.py`
writes them.
"""
