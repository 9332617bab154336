"""A job's rows and every transition between its states. Nothing else writes `job.state` or `attempt.state`.

Each transition is one guarded UPDATE with its events in the same transaction; 0 rows means that another process was
first.
Start with `lifecycle.py` (one job) and `bulk.py` (many); `admission.py` decides where a waiting job goes.
"""
