"""Who may import whom: read from the source, and seen in fresh interpreters.

An area's own files may not name a forbidden package anywhere, not even inside a function; and nothing that they import
may bring one in when it is loaded. The command line is held to its start-up path: what it imports inside functions
(`render`, `bench`, ...) is for the command that needs it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
OURS = ("jaxmodels", "rack", "trainer")
JAX = ("jax", "jaxlib", "flax", "optax", "jaxmodels", "trainer")


@dataclass(frozen=True)
class Area:
    """Modules (a name stands for itself and everything below it), and the packages that they never load."""

    modules: tuple[str, ...]
    never: tuple[str, ...]
    lazy: bool = True  # imports inside functions count as well


AREAS = {
    "jaxmodels": Area(("jaxmodels",), ("rack", "trainer", "textual")),
    "trainer": Area(("trainer",), ("rack", "textual")),
    "terminal": Area(("rack.ui",), (*JAX, "rack.engine", "rack.workshop", "rack.server")),
    "command line": Area(
        ("rack.cli", "rack.commands", "rack.connect", "rack.doctor", "rack.report", "rack.jobscommand",
         "rack.superknobcommand"),
        (*JAX, "numpy", "textual", "rack.engine", "rack.workshop", "rack.ui"),
        lazy=False,
    ),
    "server": Area(("rack.server",), (*JAX, "textual", "rack.engine", "rack.workshop", "rack.ui")),
    "engine": Area(("rack.engine",), ("flax", "jaxmodels", "trainer", "textual", "rack.workshop", "rack.server")),
    "workshop": Area(("rack.workshop",), ("textual", "rack.ui", "rack.server")),
    "measuring": Area(("rack.bench", "rack.soak"), ("textual", "trainer", "rack.ui")),
}
NAMED = {name for area in AREAS.values() for name in area.modules}


@dataclass(frozen=True)
class Import:
    """One name that a module imports; `eager` where loading the module loads it."""

    name: str
    eager: bool


def within(name: str, packages: Iterable[str]) -> bool:
    """Whether the module is one of the packages or lies below one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def modules_below(top: Path, packages: Iterable[str] = OURS) -> dict[str, Path]:
    """Every module of the packages, by its dotted name."""
    found = {}
    for package in packages:
        for path in sorted((top / package).rglob("*.py")):
            parts = path.relative_to(top).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(name: str, path: Path, known: dict[str, Path]) -> Iterator[Import]:
    """What a module imports, by absolute name; what is behind `TYPE_CHECKING` is not imported."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    yield from (Import(parent, True) for parent in parents(name))
    pending: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text(), str(path)), True)]
    while pending:
        node, eager = pending.pop()
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, eager) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                member = f"{origin}.{alias.name}"
                yield Import(member if member in known else origin, eager)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += [(child, eager) for child in node.orelse]
            continue
        inside = eager and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        pending += [(child, inside) for child in ast.iter_child_nodes(node)]


def parents(name: str) -> list[str]:
    """The packages that Python loads before a module: a.b.c -> a, a.b."""
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def violations(area: Area, known: dict[str, Path]) -> list[str]:
    """Every way from the area to a package that it must not load, as a line 'a -> b -> c'."""
    start = [name for name in known if within(name, area.modules)]
    pending, seen, found = [(name, (name,)) for name in start], set(start), []
    while pending:
        name, way = pending.pop(0)
        for item in imports_of(name, known[name], known):
            if not item.eager and not (area.lazy and name in start):
                continue
            for target in (*parents(item.name), item.name):
                if within(target, area.never):
                    found.append(" -> ".join((*way, target)))
                elif target in known and target not in seen:
                    seen.add(target)
                    pending.append((target, (*way, target)))
    return sorted(set(found))


KNOWN = modules_below(TOP)
SHARED = Area(
    tuple(name for name in KNOWN if name.count(".") == 1 and name.startswith("rack.") and not within(name, NAMED)
          and KNOWN[name].name != "__init__.py"),
    (*JAX, "textual", "rack.engine", "rack.workshop", "rack.server", "rack.ui"),
)  # fmt: skip


@pytest.mark.parametrize("name", [*AREAS, "shared"])
def test_no_area_imports_what_is_not_its_own(name):
    found = violations(AREAS.get(name, SHARED), KNOWN)
    assert not found, f"{name}:\n" + "\n".join(found)


@pytest.mark.parametrize("name", [*AREAS, "shared"])
def test_nothing_forbidden_is_loaded_in_a_fresh_interpreter(name):
    area = AREAS.get(name, SHARED)
    modules = [module for module in KNOWN if within(module, area.modules) and not module.endswith("__main__")]
    if not modules:
        pytest.skip(f"no modules in {', '.join(area.modules)} yet")
    code = f"import sys, {', '.join(modules)}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    loaded = [module for module in done.stdout.split() if within(module, area.never)]
    assert not loaded, f"importing {name} loads {loaded}"


def test_the_graph_sees_every_kind_of_import(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("a/__init__.py", "")
    write("a/direct.py", "import bad.inner")
    write("a/hidden.py", "def f():\n    from bad import x")
    write("a/typed.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import bad")
    write("a/far.py", "from . import near")
    write("a/near.py", "from b import deep")
    write("a/lazy.py", "from b import later")
    write("b/__init__.py", "")
    write("b/deep.py", "try:\n    import bad\nexcept ImportError:\n    pass")
    write("b/later.py", "def f():\n    import bad")
    known = modules_below(tmp_path, ("a", "b"))

    def ways(module, lazy=True):
        return violations(Area((module,), ("bad",), lazy), known)

    assert ways("a.direct") == ["a.direct -> bad", "a.direct -> bad.inner"]
    assert ways("a.hidden") == ["a.hidden -> bad"]
    assert ways("a.hidden", lazy=False) == []
    assert ways("a.typed") == []
    assert ways("a.far") == ["a.far -> a.near -> b.deep -> bad"]
    assert ways("a.lazy") == []
