"""Many jobs submitted as one thing: written in portions, started only when whole, stopped and reported together.

Start with `submit.py`; `lifecycle.py` seals, stops and ends a batch, `report.py` summarises it by slot and prompt.
"""
