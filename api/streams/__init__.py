"""What flows to a client without end: events and growing logs, as server-sent events.

A stream reads in a worker thread, waits for a wake-up without a thread (see `wakeups.py`), and holds one batch in
memory: a slow reader is served later, not from a longer queue. Comments that keep the connection alive are FastAPI's.
"""
