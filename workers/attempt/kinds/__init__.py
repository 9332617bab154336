"""What is specific to a kind of job, each in one class with the same methods; `table.py` maps kinds to classes.

Start with `tool.py`: the default for every kind. The steps that call these methods are in `../execution.py`.
"""
