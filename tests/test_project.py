"""What a stranger meets first: the commands of the README, the locks, the wheel, and files that say what they are."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import rack

TOP = Path(__file__).parents[1]
LONGEST_FILE = 450  # lines
README = (TOP / "README.md").read_text()
MAKEFILE = (TOP / "Makefile").read_text()
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
LOCKS = ("requirements.lock", "requirements-bench.lock")


def tracked() -> list[Path]:
    """The files that the repository holds, and those about to be added."""
    if not (TOP / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=TOP, capture_output=True, text=True, check=True).stdout.split("\0")
    return [TOP / name for name in names if name and (TOP / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data[:8192]:
            found.append((path.relative_to(TOP), data.decode()))
    return found


def test_readme_names_only_targets_that_the_makefile_has():
    targets = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.M))
    named = set(re.findall(r"^ {4}make ([a-z-]+)|`make ([a-z-]+)`", README, re.M))
    named = {first or second for first, second in named}
    assert {"run", "test"} <= named <= targets
    assert {"env", "run", "test", "lint", "bench", "bench-env", "soak"} <= targets


def test_every_target_is_phony_or_a_file_and_has_its_line_of_help():
    phony = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[1].split())
    helped = set(re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.M))
    assert phony == helped == set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.M))


def test_readme_opens_with_a_picture_and_its_links_lead_somewhere():
    assert "<img" in README[:200]
    links = re.findall(r'src="([^"]+)"', README) + re.findall(r"\]\(([^)]+)\)", README)
    assert len(links) > 4
    missing = [link for link in links if "://" not in link and not (TOP / link).exists()]
    assert not missing


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    import soundfile

    from jaxmodels import save
    from jaxmodels.recurrent import LSTM, Settings

    soundfile.write(tmp_path / "dry.wav", np.sin(np.arange(8000) / 20) / 2, 44100, subtype="FLOAT")
    save(tmp_path / "TS9.json", LSTM(Settings(inputs=2, hidden=4), sample_rate=44100))
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(re.search(r"```python\n(.*?)```", README, re.S)[1], names)
    assert names["y"].shape == (8000,) and names["block"].shape == (64, 1)
    assert np.isfinite(names["y"]).all() and np.abs(names["y"]).max() > 0.1


@pytest.mark.parametrize("name", LOCKS)
def test_locks_hold_versions_and_hashes_and_no_addresses(name):
    text = (TOP / name).read_text()
    assert not re.search(r"https?:|file:|git\+|://|--index|--extra-index|--find-links|--trusted| @ ", text)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if not line.startswith("#")]
    assert len(lines) > 5
    for line in lines:
        assert re.match(r"^[a-z0-9][a-z0-9.-]*==[0-9][^ ]*( ; [^\\]+?)?( +--hash=sha256:[0-9a-f]{64})+ *$", line), line


def test_the_lock_holds_everything_that_the_project_asks_for():
    extras = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *extras["test"], *extras["lint"], *extras["pictures"], *extras["build"]]
    names = {re.match(r"[A-Za-z0-9._-]+", line)[0].lower().replace("_", "-") for line in asked}
    assert not names - set(re.findall(r"^([a-z0-9.-]+)==", (TOP / "requirements.lock").read_text(), re.M))


def test_the_lock_is_what_the_tests_run_on():
    locked = re.findall(r"^([a-z0-9.-]+)==(\S+)", (TOP / "requirements.lock").read_text(), re.M)
    have = {dist.name.lower().replace("_", "-"): dist.version for dist in metadata.distributions()}
    different = {name: (have[name], version) for name, version in locked if have.get(name, version) != version}
    assert not different, "installed and locked versions differ: run make env"


def test_one_version_everywhere():
    changelog = (TOP / "CHANGELOG.md").read_text()
    newest = re.search(r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$", changelog, re.M)
    assert newest and newest[1] == PROJECT["version"] == rack.__version__


def test_licence_is_mit():
    text = (TOP / "LICENSE").read_text()
    assert text.startswith("MIT License") and "nafx-rack contributors" in text and "WITHOUT WARRANTY" in text
    assert PROJECT["license"] == "MIT"


def test_continuous_integration_runs_the_tests():
    path = TOP / ".ci" / "run"
    assert path.stat().st_mode & 0o111
    assert path.read_text().rstrip().endswith("make test")
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_no_file_knows_the_machine_it_was_written_on():
    paths = re.compile("|".join(("/" + "work/", "/" + "root/", r"/home/[a-z]+/", r"/Users/[A-Za-z]+/")))
    found = [f"{name}: {hit[0]}" for name, text in texts() for hit in [paths.search(text)] if hit]
    assert not found


def test_files_stay_short():
    code = [(name, text.count("\n")) for name, text in texts() if name.suffix in (".py", ".tcss")]
    assert code
    assert not [f"{name}: {lines} lines" for name, lines in code if lines > LONGEST_FILE]


def test_what_is_public_says_what_it_is():
    silent = []
    for name, text in texts():
        if name.suffix != ".py" or name.parts[0] not in ("jaxmodels", "rack", "trainer", "benchmarks"):
            continue
        tree = ast.parse(text)
        if text.strip() and not ast.get_docstring(tree):
            silent.append(str(name))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if not node.name.startswith("_") and node.name != "main" and not ast.get_docstring(node):
                    silent.append(f"{name}: {node.name}")
    assert not silent, "no docstring:\n" + "\n".join(silent)


@pytest.fixture(scope="module")
def wheel_folder(tmp_path_factory):
    """The wheel of this checkout, unpacked in a folder far from it."""
    if int(metadata.version("setuptools").split(".")[0]) < 77:
        pytest.skip("setuptools is older than 77: run make env")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    for path in tracked():
        copy = source / path.relative_to(TOP)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    command = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", target, source]
    done = subprocess.run([sys.executable, "-m", "pip", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def test_the_wheel_brings_its_sounds_and_racks(wheel_folder):
    code = """
import pathlib, sys
here = pathlib.Path(sys.path[0])
import rack.catalogue, rack.paths, jaxmodels.assets
assert pathlib.Path(rack.paths.__file__).is_relative_to(here), rack.paths.__file__
folder = rack.paths.assets()
assert folder == here / "rack" / "_assets", folder
assert jaxmodels.assets.assets_folder() == folder, jaxmodels.assets.assets_folder()
assert rack.paths.shipped_racks().is_file()
assert rack.paths.loop_path() and list((folder / "irs").glob("*.wav"))
assert rack.catalogue.catalogue()
assert not list(folder.rglob("*.py")) and not list(folder.rglob("*.png"))
"""
    done = run_outside(wheel_folder, code)
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_packages_and_nothing_else(wheel_folder):
    folders = {path.name for path in wheel_folder.iterdir() if not path.name.endswith(".dist-info")}
    assert folders - {"bin"} == {"jaxmodels", "rack", "trainer"}
    assert list((wheel_folder / "rack" / "ui").glob("*.tcss"))


def test_the_wheel_has_the_command(wheel_folder):
    done = run_outside(
        wheel_folder, "import sys\nfrom rack.cli import main\nsys.argv = ['nafx-rack', '--help']\nmain()"
    )
    assert done.returncode == 0, done.stderr
    for command in re.findall(r"^ {4}nafx-rack ([a-z]+)", README, re.M):
        assert command in done.stdout


def run_outside(folder, code):
    """Run Python with the folder first on its path, from a place where no checkout is near."""
    code = f"import sys\nsys.path.insert(0, {str(folder)!r})\n{code}"
    return subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)
