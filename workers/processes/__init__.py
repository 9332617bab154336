"""Child processes: started from argv lists, owned by a subreaper shim, limited, stopped and proven gone.

When the worker dies, its tree dies. Start with `process.py`; `shim.py` is the program that stands above the tool.
"""
