"""What is said and asked over HTTP, as Pydantic models: one file a resource; `base.py` is what they share."""
