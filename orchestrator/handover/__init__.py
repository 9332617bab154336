"""One archive of a job for the person who looks for its fault: what ran, on what, what came out, and how to repeat it.

Nothing in it is a secret, and its size is bounded. Read `bundle.py` first, then `repeat.py`.
"""
