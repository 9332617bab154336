"""The vendor's four clients: they send requests to servers on this host and store the answers in files.

They use the servers only through HTTP. Read `main.py` first.
"""
