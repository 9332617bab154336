"""One attempt as a list of steps, from claim to report; cards are checked before and after.

Nothing is reported twice and nothing is stored without the lease. Start with `execution.py`.
"""
