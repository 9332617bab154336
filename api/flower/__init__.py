"""Flower behind a gate: `python -m api.flower` is the real Flower, and no request reaches it unchecked.

Start with `gate.py`, which decides; `server.py` puts it before Flower, `password.py` keeps who may come in.
"""
