"""The shared definitions: states and transitions, specs, slots, demands, failures, profiles. Pure: no SQL, no I/O.

Start with `states.py` and `specs.py`.
"""
