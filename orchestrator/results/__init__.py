"""Results of runs and their comparison: answers, goldens, metrics and their definitions. Pure: no SQL, no files.

Start with `metrics.py` (each number's definition and unit) and `majority.py` (which group differs).
"""
