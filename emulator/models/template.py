"""Chat templates as models carry them in `tokenizer_config.json`: Jinja, as Hugging Face's libraries render it.

A template that cannot be read is refused when the model is loaded; one that fails, or exceeds its budget, when a
question is sent. Limits and the names a template can use are in `sandbox.py`.
"""

from collections.abc import Mapping
from typing import Any

from jinja2 import TemplateSyntaxError

from emulator.models.sandbox import Sandbox
from emulator.tool import Refused, ToolError

_LONGEST = 100_000
"""Characters of a template; published ones have a tenth of that."""


class Template:
    """One template, read and checked. Threads may render it at the same time."""

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise Refused(f"chat template: longer than {_LONGEST} characters")
        try:
            self._code = Sandbox().compile(text)
        except TemplateSyntaxError as error:
            raise Refused(f"chat template, line {error.lineno}: {error.message}") from None
        except Exception as error:
            # Nested too deep for Jinja's reader or for Python's: each says so in its own way.
            raise Refused(f"chat template: cannot be read: {_reason(error)}") from None

    def render(self, values: Mapping[str, Any]) -> str:
        """The text for these values; what the template cannot say about them is `Refused`."""
        sandbox, pieces = Sandbox(), []
        try:
            template = sandbox.template_class.from_code(sandbox, self._code, sandbox.globals)
            for piece in template.generate(values):
                sandbox.spend(len(piece))
                pieces.append(piece)
        except ToolError:
            raise
        except Exception as error:
            # The template is a stranger's program and may fail in any way that Python knows.
            raise Refused(f"chat template: {_reason(error)}") from None
        return "".join(pieces)


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:1000]
