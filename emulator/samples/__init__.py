"""Models that are created here: the tiny one that every tree gets, random ones of any size, and SmolLM2.

Each is a folder in Hugging Face's form, and the same arguments give the same bytes. Read `make.py` first.
"""
