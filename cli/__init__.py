"""The command line `tx81`. It talks HTTP to the API, except for `stack/`, which runs everything on one machine.

`commands/` are what a person types, `pages/` what is printed. Start with `main.py`, then one file of `commands/`.
"""
