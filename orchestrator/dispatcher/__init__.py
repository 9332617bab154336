"""The only process that places jobs: a turn promotes, places, commits and sends doorbells; chores repair lost messages
and leases.

Any number may run; a SQL lease elects the leader. Start with `turn.py`, then `main.py`.
"""
