"""Which queued job goes to which free slot, and why another waits.

`placement/` decides and is pure; `queue.py` reads its input, at a cost that does not grow with the queue.
Start with `plan.py`; `explanation.py` answers "why is my job waiting" from the same snapshot.
"""
