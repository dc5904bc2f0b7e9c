"""Settings for every test: strict JAX, and where the fixtures of other people's projects lie."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxmodels import xla  # sets the compiler flags before jax starts its backend

os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
TRAININGS = {  # of JAX, in the processes that tests start, and in those tests that ask for `remembered`
    "jax_compilation_cache_dir": str(Path(__file__).parents[1] / ".pytest_cache" / "programs"),
    "jax_persistent_cache_min_compile_time_secs": 0.05,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
MOST_MAPS = 8000  # between two modules
FIXTURES = Path(os.environ.get("NAFX_FIXTURES", Path(__file__).parents[2] / "shared" / "fixtures"))


def pytest_configure(config):
    jax.config.update("jax_numpy_rank_promotion", "raise")
    os.environ |= {name.upper(): str(value) for name, value in TRAININGS.items()}
    jax.config.update("jax_compilation_cache_dir", None)  # a program that comes from there cannot be stored again
    _compile_sooner()


def _compile_sooner() -> None:
    """Have this process, not those that a test starts, compile as the engine does: it takes a quarter less time."""
    flags = os.environ["XLA_FLAGS"]
    os.environ["XLA_FLAGS"] = f"{flags} {xla.OLDER_EMITTERS}"
    jax.devices()  # now the flags are read
    os.environ["XLA_FLAGS"] = flags


def pytest_xdist_auto_num_workers():
    """More workers than cores: the tests of engine, server and terminal wait as much as they compute."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of reference recordings and model files; tests that need it skip where it is not."""
    if not FIXTURES.is_dir():
        pytest.skip(f"no reference files at {FIXTURES} (set NAFX_FIXTURES to their folder)")
    return FIXTURES


@pytest.fixture(scope="module")
def remembered():
    """What this module compiles is kept on disk, and not compiled again."""
    before = {name: getattr(jax.config, name) for name in TRAININGS}
    _set(TRAININGS)
    yield
    _set(before)


def _set(settings: dict) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Compiled programs take memory, and maps of it, of which Linux gives a process 65,530: many are too many."""
    yield
    if _maps() > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


def _maps() -> int:
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return 0
