"""Names by a few of their letters, as people type them to find one in a list."""

from __future__ import annotations

import re
from collections.abc import Sequence

LOOSEST = 4  # times as long as the letters themselves may be what they are strewn over


def fuzzy(text: str, names: Sequence[str]) -> list[int]:
    """Places of the names that have all letters of the text in its order, the tightest first.

    Letters side by side, at the beginning of a word, and short names count for more.
    """
    letters = [re.escape(c) for c in text.casefold() if not c.isspace()][:32]
    if not letters:
        return []
    first, *others = letters  # possessive, so that no name takes more than one pass
    find = re.compile(f"([^{first}]*+){first}" + "".join(f"[^{c}]*+{c}" for c in others)).match
    scored = []
    for place, name in enumerate(names):
        folded = name.casefold()
        if found := find(folded):
            start, end = found.end(1), found.end()
            if end - start > LOOSEST * len(letters):
                continue
            inside = start > 0 and folded[start - 1].isalnum()
            scored.append((end - start - len(letters) + 3 * inside, len(name), place))
    return [place for *_, place in sorted(scored)]
