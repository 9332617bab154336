"""Runs side by side: what was set, what was answered, what was measured, and one verdict with its numbers.

A run is one job by its latest attempt. Runs are compared only if nothing differs but what the person who compares has
named. Nothing here changes a row. Start with `runs.py`; the deciding is in `orchestrator.results.verdicts`.
"""
