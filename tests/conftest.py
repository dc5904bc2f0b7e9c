"""Settings for every test: strict JAX, and where the fixtures of other people's projects lie."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path

import jax
import pytest

import jaxmodels  # noqa: F401  (sets the compiler flags before jax starts its backend)

os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
MOST_MAPS = 8000  # between two modules
PROGRAMS = {  # JAX's settings of the folder that they share
    "jax_persistent_cache_min_compile_time_secs": 0.1,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
FIXTURES = Path(os.environ.get("NAFX_FIXTURES", Path(__file__).parents[2] / "shared" / "fixtures"))


def pytest_configure(config):
    jax.config.update("jax_numpy_rank_promotion", "raise")
    _share_programs(config)


def _share_programs(config):
    """What this process, another worker or a program that a test starts has compiled, none of them compiles again."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return  # a worker's, from the process that started it
    folder = tempfile.mkdtemp(prefix="nafx-programs-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    for name, value in {**PROGRAMS, "jax_compilation_cache_dir": folder}.items():
        os.environ[name.upper()] = str(value)
        jax.config.update(name, value)


def pytest_xdist_auto_num_workers():
    """More workers than cores: the tests of engine, server and terminal wait as much as they compute."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of reference recordings and model files; tests that need it skip where it is not."""
    if not FIXTURES.is_dir():
        pytest.skip(f"no reference files at {FIXTURES} (set NAFX_FIXTURES to their folder)")
    return FIXTURES


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
