"""Runs a compiled image: greedy, and only with the weights for which it was compiled.

Model and image are checked against each other before a card is opened. `offline.py` is the vendor's offline test.
Read `kcore.py` first.
"""
