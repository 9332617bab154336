"""What every run shares: the cards it takes, the questions it reads, the log and the responses it writes.

Offline test, server and clients name and write their files in one way. Read `answers.py` first.
"""
