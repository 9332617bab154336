"""The typed Python client: one method for each route, streams that survive a broken connection.

Knows HTTP and `api.documents` only. One file per resource; start with `client.py`, which combines them, and with
`connection.py`, which sends requests and raises `ApiError`.
"""
