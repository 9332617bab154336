"""A very small Qwen2 that was trained to answer its question set exactly, and the tools that made it.

Nothing here is needed at run time except the files: see `README.md` for what each of them holds."""
