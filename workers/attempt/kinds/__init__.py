"""What is particular to a kind of job, each in one class with the same methods; `table.py` says which kind is which.

Start with `tool.py`: what every kind does unless it says otherwise. The steps between are in `../execution.py`.
"""
