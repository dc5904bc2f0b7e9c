"""Which cases of a parametrised test the default suite runs: every other shape of a network is seconds of compiling."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest


def slow_except(fast: Collection, cases: Iterable) -> list:
    """All cases for `parametrize`; those that only repeat what a `fast` one proves run with the slow tests.

    A case that is a tuple is one value for each argument.
    """
    cases = list(cases)
    assert all(case in cases for case in fast)
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=() if case in fast else pytest.mark.slow)
        for case in cases
    ]
