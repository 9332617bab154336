"""A model's folder: its config, weights, tokenizer and chat template, each read as an untrusted file.

An invalid value is refused with its file and its field, before any work is done; a chat template runs in a sandbox,
within limits. Read `config.py` first.
"""
