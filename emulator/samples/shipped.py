"""The small model and its questions that every tree gets."""

from pathlib import Path

SHIPPED = Path(__file__).parent / "tiny"
"""The folder with `model/`, its TX81 config, the questions and the answers expected to them."""
