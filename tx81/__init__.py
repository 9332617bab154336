"""How every process of the product begins: its own packages are imported, and its settings alone decide.

Start with `start.py`. The name is there for `tx81` and `python -m tx81`: it is the one that no other project has.
"""
