"""One process owns one slot and runs the attempts assigned to it; it starts the vendor's tools and kills them.

The way of an attempt is `tasks.py` → `attempt/execution.py`; owning a slot is `slot.py`. Start with `main.py`.
"""
