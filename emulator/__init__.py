"""An emulated TX81 host: the vendor's file names, commands and flags over real work on the CPU.

It quantises, writes C, compiles it with gcc and runs the result on 32 emulated cards that refuse a second opener. Run
`python -m emulator install DIR` and run the vendor guide's commands in DIR. It needs numpy, tokenizers, jinja2, gcc.
Data goes from `models/` through `compiler/` to `engine/` and `server/`; read `tree.py` and `tool.py` first.
"""
