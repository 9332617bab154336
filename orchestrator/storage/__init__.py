"""Where things are stored: sessions and the database's clock, tables, events, files by digest, live and sealed logs.

Works the same on SQLite and PostgreSQL. Start with `database.py`, `tables/` and `artifacts.py`.
"""
