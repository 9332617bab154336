"""`place(snapshot)` chooses slots, `explain(job, snapshot)` says why not: pure, no SQL, no Celery, no clock.

Start with `place.py`; `board.py` records which slots are taken and set aside, `order.py` defines the order of jobs.
"""
