"""Suites run whole turns of a lab; what SQL decides in them is tried on both databases."""

from builders.databases import sqlite_unless_marked  # noqa: F401
