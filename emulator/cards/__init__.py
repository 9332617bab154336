"""The emulated cards: one process holds a card until it ends; a second opener is refused and recorded.

Every opening, refusal and injected fault is in the event log. Nothing here depends on models or compiled images.
Read `group.py` first.
"""
