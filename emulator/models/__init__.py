"""A model's folder: its config, weights, tokenizer and chat template, each read as a stranger's file.

What does not fit is refused with its file and its field, before any work is done. Nothing of it is run as Python.
Read `config.py` first.
"""
