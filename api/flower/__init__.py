"""Flower with access checks: `python -m api.flower` runs the original Flower, and every request is checked before it.

Start with `gate.py`, which decides; `server.py` calls it for each request to Flower, `password.py` stores the password,
and `sessions.py` knows which browsers are signed in.
"""
