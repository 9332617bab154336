"""The typed Python client: one method for each route, streams that survive a broken connection.

Knows HTTP and `api.documents` only. Start with `client.py`; `connection.py` sends requests and raises `ApiError`.
"""
