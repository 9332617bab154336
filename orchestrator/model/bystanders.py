"""Files that lie in a folder and are no part of what it holds, because no tool reads them. Pure.

Git, file managers, editors and downloaders leave them there, and change them when nothing else has changed. One rule
for models, kernel images, archives and trees: what is named so has no digest, is not unpacked, not stored, not linked.
"""

import re
from pathlib import PurePath

PATTERN = "|".join(
    (
        r"\.git|\.gitattributes|\.gitignore|\.gitmodules|\.gitkeep|\.hg|\.svn",
        r"\.cache|\.huggingface|\.locks|.*\.lock|.*\.incomplete",  # huggingface_hub, in a folder of its own or a name
        r"\._.*|\.DS_Store|__MACOSX|\.Spotlight-V100|\.Trashes|\.Trash-[0-9]+|\.fseventsd|\.TemporaryItems",  # macOS
        r"Thumbs\.db|ehthumbs\.db|desktop\.ini|\.directory|@eaDir",  # Windows, KDE, file servers
        r"\.ipynb_checkpoints|__pycache__|\.pytest_cache|\.mypy_cache|\.ruff_cache|\.idea|\.vscode",
        r".+~|\.#.*|#.*#|\..*\.sw[a-z]|.*\.orig|.*\.rej|.*\.bak",  # editors
        r"\.nfs[0-9a-f]+|\.fuse_hidden.*",  # files that were removed while they were open
    )
)
"""Of the whole name of a file or a folder; it has no group."""

_NAME = re.compile(PATTERN, re.DOTALL)


def is_bystander(path: str) -> bool:
    """Whether a file, by its path below the folder, is no part of what the folder holds: its name, or a folder's."""
    return any(_NAME.fullmatch(part) is not None for part in PurePath(path).parts)
