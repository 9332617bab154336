"""Lines of code by package, without blanks, comments and docstrings: `python -m benchmarks.lines`."""

import ast
import io
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("orchestrator", "workers", "api", "cli", "emulator", "migrations", "benchmarks", "tests")
_NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
    tokenize.ENDMARKER,
}  # fmt: skip


def lines_of_code(file: Path) -> int:
    """Lines that hold a token of code."""
    text = file.read_text()
    docs: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docs.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    used: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            used.update(range(token.start[0], token.end[0] + 1))
    return len(used - docs)


def main() -> None:
    """Count and print."""
    for package in PACKAGES:
        files = sorted((ROOT / package).rglob("*.py"))
        print(f"{package:13} {len(files):4} files {sum(map(lines_of_code, files)):6} lines")
    c = [file for pattern in ("*.c", "*.h") for file in (ROOT / "emulator").rglob(pattern)]
    print(f"{'emulator, C':13} {len(c):4} files {sum(len(file.read_text().splitlines()) for file in c):6} lines")


if __name__ == "__main__":
    main()
