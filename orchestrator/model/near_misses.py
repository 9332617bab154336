"""What a person probably meant by a word that is none of those that are known. Pure."""

from collections.abc import Iterable

MEANT = "; did you mean "
"""What begins a suggestion at the end of a sentence."""
_LONGEST = 100
"""Characters: a longer word is no slip of the finger, and comparing it takes time."""


def meant(word: object, known: Iterable[object]) -> str | None:
    """The known word that is most like `word`; None if none is alike."""
    import difflib  # only what is wrong needs it

    if not isinstance(word, str) or len(word) > _LONGEST:
        return None
    words = {str(each).casefold(): str(each) for each in known}
    near = difflib.get_close_matches(word.casefold(), words, n=1, cutoff=0.6)
    return words[near[0]] if near else None


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """The same as the end of a sentence, `; did you mean infer?`; empty if none is alike."""
    near = meant(word, known)
    return "" if near is None else f"{MEANT}{near}?"
