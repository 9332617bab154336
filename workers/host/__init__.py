"""What this host knows of its cards: locks that prove ownership, who has a card open, free ports.

Start with `locks.py` and `probe.py`.
"""
