"""`place(snapshot)` chooses slots, `explain(job, snapshot)` says why not: pure, no SQL, no Celery, no clock.

Start with `place.py`; `board.py` holds what is taken and kept, `order.py` says who comes first.
"""
