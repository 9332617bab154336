"""How every process of the product starts: only its own packages are imported, and only its own settings are used.

Start with `start.py`. The package exists for `tx81` and `python -m tx81`: no other project has this name.
"""
