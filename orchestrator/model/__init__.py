"""The words: states and their arrows, specs, slots, demands, failures, profiles. Pure: no SQL, no I/O.

Start with `states.py` and `specs.py`.
"""
