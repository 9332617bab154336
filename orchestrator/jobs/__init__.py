"""A job's rows and every arrow between its states. Nothing else writes `job.state` or `attempt.state`.

Each arrow is one guarded UPDATE with its events in the same transaction; 0 rows means that somebody else was first.
Start with `lifecycle.py` (one job) and `bulk.py` (many); `admission.py` decides where a waiting job goes.
"""
