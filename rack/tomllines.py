"""Where in a TOML text things stand: the line of every table and key, and the lines that belong to each table."""

from __future__ import annotations

import re
import tomllib

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]\]?[ \t]*(?:#.*)?$")
_KEY = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=[ \t]*(.*)")


class Header:
    """A table's header: its line (from 0), its path with the numbers of array elements, if it begins an element, and
    the last line of its last key (its own line where it has none)."""

    def __init__(self, line: int, path: tuple, element: bool):
        self.line, self.path, self.element, self.last = line, path, element, line


class Lines:
    """An index of a TOML text, line by line; a guess where the text is odd, never an error."""

    def __init__(self, text: str):
        self.lines = text.split("\n")
        self.headers: list[Header] = []
        self._found: dict[tuple, int] = {(): 0}
        counts: dict[tuple, int] = {}
        table: tuple = ()
        closing = ""
        last = self.top = Header(-1, (), False)
        for i, line in enumerate(self.lines):
            if closing:
                closing = "" if closing in line else closing
                last.last = i
                continue
            if header := _HEADER.match(line.rstrip("\r")):
                table = self._resolve(_parts(header[2]), counts, header[1] == "[[")
                last = Header(i, table, header[1] == "[[")
                self.headers.append(last)
                self._found.setdefault(table, i + 1)
            elif key := _KEY.match(line):
                path = (*table, *_parts(key[1]))
                self._found.setdefault(path, i + 1)
                closing, last.last = _opened(key[2]), i

    def find(self, path: tuple) -> int:
        """The line (from 1) of a table or key, or of what stands nearest around it; 0 where nothing does."""
        while path not in self._found:
            path = path[:-1]
        return self._found[path]

    def _resolve(self, parts: tuple, counts: dict, element: bool) -> tuple:
        """The path of a header: arrays of tables on the way get the number of their last element."""
        path: tuple = ()
        for i, part in enumerate(parts):
            path = (*path, part)
            last = i == len(parts) - 1
            if last and element:
                counts[path] = counts.get(path, -1) + 1
            if path in counts:
                path = (*path, counts[path])
        return path

    def chunk(self, number: int) -> tuple[int, int]:
        """The lines [first, after) of header `number`: comments directly above it, and all up to the next such."""
        return self._start(number), self._start(number + 1)

    def _start(self, number: int) -> int:
        if number >= len(self.headers):
            return len(self.lines)
        line = self.headers[number].line
        floor = self.headers[number - 1].line + 1 if number else 0
        while line > floor and self.lines[line - 1].lstrip().startswith("#"):
            line -= 1
        return line


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(_word(part) for part in re.findall(_PART, dotted))


def _word(part: str) -> str:
    if part[0] not in "\"'":
        return part
    try:
        return tomllib.loads(f"k = {part}")["k"]
    except tomllib.TOMLDecodeError:
        return part[1:-1]


def _opened(value: str) -> str:
    """What closes a text or an array of several lines that begins in this value, or nothing."""
    for quotes in ('"""', "'''"):
        if value.startswith(quotes) and quotes not in value[3:]:
            return quotes
    return "]" if value.startswith("[") and "]" not in value else ""
