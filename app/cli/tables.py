"""Tables that fit their terminal: ids stay whole, and what matters least is left out first."""

from collections.abc import Sequence
from dataclasses import dataclass

GAP = 2
# A column of text is folded at its words, but made no narrower than this.
TEXT_MIN = 20
WORD_MAX = 30


@dataclass(frozen=True)
class Column:
    """One column as it would be printed; ``name`` is the field's. An id is never folded."""

    name: str
    head: str
    cells: Sequence[str]
    is_whole: bool = False

    @property
    def natural(self) -> int:
        """The width at which nothing is folded."""
        from rich.cells import cell_len

        lines = (line for text in (self.head, *self.cells) for line in text.splitlines())
        return max(map(cell_len, lines), default=0)

    @property
    def least(self) -> int:
        """The narrowest it is made."""
        from rich.cells import cell_len

        if self.is_whole or self.name == "id" or self.name.endswith("_id"):
            return self.natural
        words = (word for text in (self.head, *self.cells) for word in text.split())
        longest = min(WORD_MAX, max(map(cell_len, words), default=0))
        return max(longest, min(TEXT_MIN, self.natural))


def fitting(columns: Sequence[Column], spare: Sequence[str], room: int) -> list[Column]:
    """The columns that fit side by side; those named by ``spare`` are left out, in its order."""
    kept = list(columns)
    for name in spare:
        if _total([one.least for one in kept]) <= room:
            break
        kept = [one for one in kept if one.name != name]
    return kept


def widths(columns: Sequence[Column], room: int) -> list[int]:
    """How wide each column is: as it would be, or the widest folded until all fit."""
    found, least = [one.natural for one in columns], [one.least for one in columns]
    while _total(found) > room:
        can = [at for at in range(len(found)) if found[at] > least[at]]
        if not can:
            break
        found[max(can, key=lambda at: found[at])] -= 1
    return found


def print_table(
    columns: Sequence[Column], spare: Sequence[str] = (), has_heads: bool = True
) -> str:
    """Print a table on stdout. Returns a sentence on what was left out, or nothing."""
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Off a terminal nothing may be folded or left out: the reader is a program or a file.
    room = Console().width if sys.stdout.isatty() else 100_000
    kept = fitting(columns, spare, room)
    wide = widths(kept, room)
    table = Table(box=None, pad_edge=False, show_header=has_heads, padding=(0, GAP, 0, 0))
    for one, width in zip(kept, wide, strict=True):
        style = None if has_heads else ""
        table.add_column(Text(one.head), overflow="fold", style=style, width=width)
    for row in zip(*(one.cells for one in kept), strict=True):
        table.add_row(*map(Text, row))
    # Where even the ids do not fit, the terminal folds the line: nothing is cut.
    Console(width=max(room, _total(wide)), highlight=False).print(table)
    left = [one.head for one in columns if one not in kept]
    return f"not shown at this width: {', '.join(left)} (-o json has every field)" if left else ""


def _total(wide: Sequence[int]) -> int:
    return sum(wide) + GAP * (len(wide) - 1)
