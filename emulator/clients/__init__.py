"""The vendor's four clients: they ask servers on this host and keep the answers in files.

They know the servers by HTTP alone. Read `main.py` first.
"""
