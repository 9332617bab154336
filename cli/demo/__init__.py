"""`tx81 demo`: a small model from weights to answers on eight emulated card groups, checked and cleaned up."""
