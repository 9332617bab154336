"""Regular expressions in documents that people write, refused where they are written and not where they are used."""

import re
from typing import Annotated

from pydantic import AfterValidator


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as trouble:
        raise ValueError(f"not a regular expression: {trouble}") from None
    return text


Pattern = Annotated[str, AfterValidator(_regex)]
