"""The whole stack on one machine: supervised processes, an embedded broker, state in one folder.

Start with `embedded.py`; `stack.py` lists the processes, `supervisor.py` keeps them running and stops them.
"""
