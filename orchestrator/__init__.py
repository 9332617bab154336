"""What is true about jobs, slots and results: rows, rules and the dispatcher. It starts no tool and serves no page.

A request enters at `submission`, becomes rows in `jobs`, is placed by `scheduling`; its numbers end in `results`.
Start with `model/states.py`, then follow "the way of one job" in ARCHITECTURE.md.
"""
