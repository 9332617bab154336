"""From a request to waiting jobs: files are stored, names are looked up, then everything is written in one transaction.

A submission is stored completely or not at all, and a repeated idempotency key creates nothing a second time.
Start with `submit.py` and `steps.py`; `drafts.py` checks and is the only place that builds a job's columns, `rows.py`
writes them.
"""
