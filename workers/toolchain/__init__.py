"""How the vendor's tools are called and their output is read, by what a profile says. Starts nothing.

Start with `commands.py` (from an assignment to a command) and `answers.py` (from output files to answers).
"""
