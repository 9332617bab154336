"""Runs a compiled image: greedy, with the weights it was compiled for, and with no others.

Model and image are checked against each other before a card is opened. `offline.py` is the vendor's offline test.
Read `kcore.py` first.
"""
