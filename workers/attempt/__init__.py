"""One attempt as a list of steps, from claim to report; cards are checked before and after.

Nothing is reported twice and nothing is stored without the lease. Start with `execution.py`, the list of steps; what is
specific to a kind of job is in `kinds/`, and the data that the steps share is in `facts.py`.
"""
