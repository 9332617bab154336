"""One process owns one slot and runs the attempts assigned to it; it starts the vendor's tools and kills them.

An attempt runs through `tasks.py` → `attempt/execution.py`; `slot.py` owns a slot. Start with `main.py`.
"""
