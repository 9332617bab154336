"""Setting a host up with a release: the steps, doing them in a program of its own, what follows for its slots.

Start with `plan.py`; `tasks.py` is what a step can do.
"""
