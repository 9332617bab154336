"""The only process that places: one turn promotes, places, commits and rings; chores repair what was lost.

Any number may run; a SQL lease elects the one that leads. Start with `turn.py`, then `main.py`.
"""
