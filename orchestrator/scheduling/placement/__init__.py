"""`place(snapshot)` chooses slots, `explain(job, snapshot)` says why not: pure, no SQL, no Celery, no clock.

Start with `place.py`; `board.py` says what is taken and set aside, `order.py` says who comes first.
"""
