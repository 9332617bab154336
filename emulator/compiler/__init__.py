"""From a model's folder to `kcore.bin`: quantise to int8, convert to C, compile with gcc.

Source of a conversion that did not end cannot be compiled, and one folder is written by one process at a time.
The same model gives the same source. Read `convert.py` first.
"""
