"""The languages of the pages: which one a request asks for, and its texts.

English texts are in the source; `locale/*.po` has their translations (`make messages` adds new ones).
"""

import gettext
import io
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale, negotiate_locale
from babel.dates import format_datetime, format_skeleton
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.support import NullTranslations, Translations

CATALOGUES = Path(__file__).parent / "locale"
LANGUAGES = {"en": "English", "zh_CN": "中文"}
"""Each by its own name; the first one is that of the source."""

_SOURCE = "en"
_MOST_ACCEPTED = 20
"""Languages of one Accept-Language header that are looked at."""


def chosen(cookie: str | None, accepted: str | None) -> str:
    """The language that the viewer chose, else the first one that the browser accepts and we have, else English."""
    if cookie in LANGUAGES:
        return str(cookie)
    return negotiate_locale(_preferred(accepted or ""), _KNOWN, sep="_", aliases=_ALIASES) or _SOURCE


_KNOWN = list(LANGUAGES)
_ALIASES = {"zh": "zh_CN", "en": "en"}


def _preferred(accepted: str) -> list[str]:
    """`zh-CN,zh;q=0.9,en;q=0.8` as languages, the most wanted first; any Chinese is ours."""
    found: list[tuple[float, str]] = []
    for part in accepted.split(",")[:_MOST_ACCEPTED]:
        name, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            continue
        found.append((-weight, "zh_CN" if name.lower().startswith("zh") else name.partition("-")[0].lower()))
    return [name for weight, name in sorted(found, key=lambda each: each[0]) if weight]


@cache
def translations(language: str) -> gettext.NullTranslations:
    """The texts of a language."""
    if language == _SOURCE:
        return NullTranslations()
    with (CATALOGUES / f"{language}.po").open("rb") as stream:
        catalogue = read_po(stream, locale=language, abort_invalid=True)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)


def zone(name: str | None) -> ZoneInfo | None:
    """The viewer's time zone; None (shown as UTC) where the browser named none that is known."""
    try:
        return ZoneInfo(name[:64]) if name else None
    except (LookupError, ValueError, OSError):
        return None


def moment(at: datetime, language: str, where: ZoneInfo | None, form: str = "medium") -> str:
    """A date and time as people of that language write it, in the viewer's zone."""
    return format_datetime(at, form, tzinfo=where or UTC, locale=Locale.parse(language))


def tick(at: datetime, language: str, where: ZoneInfo | None) -> str:
    """A mark on an axis of time: the clock, and at midnight the day."""
    there, locale = at.astimezone(where or UTC), Locale.parse(language)
    return format_skeleton("Md", there, locale=locale) if (there.hour, there.minute) == (0, 0) else f"{there:%H:%M}"


def number(value: float, language: str) -> str:
    """A number with the separators of the language; of a fraction four digits that say something."""
    shown = value if isinstance(value, int) else float(f"{value:.4g}")
    return format_decimal(shown, locale=Locale.parse(language), decimal_quantization=False)


def file_size(count: int, language: str) -> str:
    """Bytes as a person reads them: 1.2 GiB."""
    amount, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    return f"{number(count if units[0] == 'B' else float(f'{amount:.3g}'), language)} {units[0]}"
