"""Settings for every test: strict JAX, and where the fixtures of other people's projects lie."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

import pytest

import jaxmodels  # noqa: F401  (sets the compiler flags before jax starts)

os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
MOST_MEMORY = 1 << 30  # bytes a worker may keep between two tests
FIXTURES = Path(os.environ.get("NAFX_FIXTURES", Path(__file__).parents[2] / "shared" / "fixtures"))


def pytest_configure(config):
    import jax

    jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of reference recordings and model files; tests that need it skip where it is not."""
    if not FIXTURES.is_dir():
        pytest.skip(f"no reference files at {FIXTURES} (set NAFX_FIXTURES to their folder)")
    return FIXTURES


@pytest.fixture(autouse=True)
def little_memory():
    """What JAX has compiled is forgotten once it is much: two workers and what they start must fit into 8 GB."""
    yield
    if _resident() > MOST_MEMORY:
        import jax

        jax.clear_caches()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)


def _resident() -> int:
    """Bytes of memory in use; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0
