"""The parts shared by all runs: the cards it takes, the questions it reads, the log and the responses it writes.

Offline test, server and clients name and write their files in the same way. Read `answers.py` first.
"""
