"""The vendor's server: one model on one to eight card groups, behind OpenAI's HTTP interface.

A card group has one request at a time; the others wait in order. Every started answer is ended properly, also when
the server is stopped. Read `main.py` first.
"""
