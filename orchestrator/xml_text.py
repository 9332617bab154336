"""Text that an XML 1.0 document may hold."""

import re

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no document may hold, not even as a reference."""


def xml_text(text: str) -> str:
    """The text, with U+FFFD in the place of every character that XML has no way to write."""
    return _NOT_XML.sub("\ufffd", text)
