"""The HTTP face of the orchestrator: reads and writes SQL; only `flower/` talks to the broker.

A request goes `routes/` → `access`, `parameters` → `orchestrator` → `views/` (row to document) → `documents/`.
Start with `app.py`, then one file of `routes/`. Each resource has the same file name in every folder.
"""
