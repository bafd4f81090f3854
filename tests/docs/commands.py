"""The code blocks and commands that the documents show, as data."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHELL = ("sh", "bash")
_FENCED = re.compile(r"^[ ]*```(\w*)[^\n]*\n(.*?)^[ ]*```[ ]*$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:[A-Z_]+=\S+ )*(?:runner|make|dvc|python -m) [^`\n]+)`")
_SUBSTITUTION = re.compile(r"\$\([^()]*\)")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


@dataclass(frozen=True)
class Block:
    """A fenced block: its document, the number of its first line, its language ("" if it names none), its text."""

    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Line:
    """One line for a shell, continuations joined: where it stands and the simple commands in it."""

    where: str
    text: str
    commands: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        return f"{self.where} {self.text[:60]}"


def documents() -> list[Path]:
    """The documents whose commands a reader is told to type."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks() -> list[Block]:
    """Every fenced block of every document."""
    found = []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        for match in _FENCED.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            found.append(Block(path.relative_to(ROOT).as_posix(), line, match[1], match[2]))
    return found


def lines() -> list[Line]:
    """Every line of every shell block."""
    return [line for block in blocks() if block.language in SHELL for line in _lines(str(block), block.text)]


def mentions() -> list[Line]:
    """Commands that stand in the text between backticks."""
    found = []
    for path in documents():
        prose = _FENCED.sub("", path.read_text(encoding="utf-8"))
        for match in _INLINE.finditer(prose):
            found += _lines(path.relative_to(ROOT).as_posix(), match[1].replace("...", ""))
    return found


def _lines(where: str, text: str) -> Iterator[Line]:
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if commands := tuple(split(line)):
            yield Line(where, line.strip(), commands)


def split(line: str) -> Iterator[tuple[str, ...]]:
    """The simple commands of ``line`` without assignments, redirections and comments.

    A command substitution is split like any other command, and is a placeholder where it stands.
    """
    for inner in _SUBSTITUTION.findall(line):
        yield from split(inner[2:-1])
    lexer = shlex.shlex(_SUBSTITUTION.sub("SUBSTITUTED", line), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    tokens = iter([*lexer, ";"])
    for token in tokens:
        if set(token) <= set(";&|()"):
            if words:
                yield tuple(words)
            words = []
        elif set(token) <= set("<>&|"):
            next(tokens)  # the file, or the descriptor, of a redirection
        elif words or not _ASSIGNMENT.match(token):
            words.append(token)
