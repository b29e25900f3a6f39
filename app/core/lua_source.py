"""Puts a Lua script together from its parts, so that a call pays for little that it does not use.

Redis runs the whole text at every call and makes each function and table of it anew. So a script
carries only those functions and constants of its includes that it reaches, is passed only the
keys and arguments that these name, and finds them by their place: ``K.name`` becomes ``KEYS[n]``
and ``A.name`` ``ARGV[n]`` here, at no call's cost.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from app.core import states

_HEADER = re.compile(r"^-- @(keys|args|include)\s+(.*)$", re.MULTILINE)
# A function or a constant at the margin, to its last line.
_DEFINITION = re.compile(
    r"^local (?:function (\w+)\([^)\n]*\)(?:\n.*?^end\n| [^\n]* end(?: --[^\n]*)?\n)"
    r"|([A-Z][A-Z_]*) = (?:\{\n.*?^\}\n|[^\n]*\n))",
    re.MULTILINE | re.DOTALL,
)
_NO_CODE = re.compile(r"'[^'\n]*'|--.*$", re.MULTILINE)
# A field (one dot before it) or a method is no name; what is joined to a text (two dots) is.
_NAME = r"(?<![:\w])(?<!(?<!\.)\.)"
_WORD = re.compile(_NAME + r"(?:[KA]\.)?[A-Za-z_]\w*")
_BOUND = re.compile(_NAME + r"[KA]\.\w+")
_BEGINS = re.compile(r"^local (?:function |[A-Z][A-Z_]* =)", re.MULTILINE)
# Texts are written with single quotes, so that what is code can be told.
_OTHER_QUOTES = re.compile(r'"|\[=*\[')


class ScriptFault(Exception):
    """A script that cannot be put together as it is written: a fault of the source tree."""


@dataclass(frozen=True)
class Assembled:
    """A script's whole text, and the names of what it is passed, in order."""

    keys: tuple[str, ...]
    args: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class _Piece:
    """A definition, or with no name what stands between two; and what its code names."""

    name: str
    text: str
    words: frozenset[str]


def assemble(name: str, source: str, parts: Mapping[str, str]) -> Assembled:
    """The script behind what it reaches of its includes, its names bound.

    Raises:
        ScriptFault: it names a key or an argument that no header declares, or K or A as a whole.
    """
    texts = [*_included(source, parts), source]
    pieces = [piece for text in texts for piece in _pieces(text)]
    for piece in pieces:
        _check(name, piece)
    kept = _reached(pieces)
    words = {word for piece in kept for word in piece.words}
    keys, args = (
        tuple(word for word in _declared(texts, what) if f"{letter}.{word}" in words)
        for letter, what in (("K", "keys"), ("A", "args"))
    )
    known = {*(f"K.{key}" for key in keys), *(f"A.{arg}" for arg in args)}
    wrong = {word for word in words if word in ("K", "A") or "." in word} - known
    if wrong:
        raise ScriptFault(f"{name}: no header declares {', '.join(sorted(wrong))}")
    text = "".join(piece.text for piece in kept)
    return Assembled(keys, args, states.lua_tables(words) + bind(text, keys, args))


def _check(name: str, piece: _Piece) -> None:
    """What could not be told apart must not be left out, or kept in part."""
    code = _NO_CODE.sub("", piece.text)
    is_whole = code.count("{") == code.count("}")
    if len(_BEGINS.findall(piece.text)) != bool(piece.name) or (piece.name and not is_whole):
        raise ScriptFault(f"{name}: a definition does not end as one does: {piece.text.strip()}")
    if _OTHER_QUOTES.search(code):
        raise ScriptFault(f"{name}: texts are written with single quotes: {code.strip()}")


def bind(text: str, keys: Sequence[str], args: Sequence[str]) -> str:
    """``K.name`` and ``A.name`` as places among the keys and arguments of a call."""
    places = {f"K.{key}": f"KEYS[{at}]" for at, key in enumerate(keys, 1)}
    places |= {f"A.{arg}": f"ARGV[{at}]" for at, arg in enumerate(args, 1)}
    return _BOUND.sub(lambda found: places.get(found[0], found[0]), text)


def _reached(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Without the definitions that nothing names which is kept itself."""
    named: dict[str, set[str]] = {}
    for piece in pieces:
        named.setdefault(piece.name, set()).update(piece.words)
    found, ahead = set[str](), {""}
    while ahead:
        found |= ahead
        ahead = {word for name in ahead for word in named[name] if word in named} - found
    return [piece for piece in pieces if piece.name in found]


@lru_cache(maxsize=256)
def _pieces(text: str) -> tuple[_Piece, ...]:
    return tuple(
        _Piece(name, piece, frozenset(_WORD.findall(_NO_CODE.sub("", piece))))
        for name, piece in _split(text)
    )


def _split(text: str) -> Iterator[tuple[str, str]]:
    end = 0
    for found in _DEFINITION.finditer(text):
        yield "", text[end : found.start()]
        yield found[1] or found[2], found[0]
        end = found.end()
    yield "", text[end:]


def _included(source: str, parts: Mapping[str, str]) -> list[str]:
    """The includes, each once, behind those that it includes itself."""
    order: list[str] = []

    def visit(text: str) -> None:
        for part in _declared([text], "include"):
            if part not in order:
                visit(parts[part])
                order.append(part)

    visit(source)
    return [parts[part] for part in order]


def _declared(texts: Sequence[str], what: str) -> list[str]:
    lines = [words for text in texts for kind, words in _HEADER.findall(text) if kind == what]
    return list(dict.fromkeys(word for words in lines for word in words.split()))
