"""What a person sees in a browser: pages rendered here, from the same calls that answer the REST routes.

Read `board.py` first, then `guard.py` (who is signed in, what every page's headers say) and `rendering.py`.
"""
