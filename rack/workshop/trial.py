"""`nafx-rack models check` and `export`: models loaded for real.

Each file is checked in a process of its own (`python -m rack.workshop.trial PATH`), so that none can end the command.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from rack.describe import percent, share
from rack.errors import RackError
from rack.library import plain_path
from rack.paths import cache_folder
from rack.scan import environment

PATIENCE_S = 180.0  # for one file: a large network takes a while to compile
RATE, BLOCK = 48000, 64
SECONDS = 0.5  # of noise, and as much of silence


def check(args: argparse.Namespace) -> int:
    """Load every file and play through it; the status is 1 where one of them fails."""
    results = [trial(plain_path(path)) for path in args.paths]
    if args.json:
        print(json.dumps(results))
    for result in () if args.json else results:
        print(_words(result))
    return int(not all(result["ok"] for result in results))


def trial(path: str) -> dict[str, Any]:
    """What came of one file."""
    command = [sys.executable, "-m", "rack.workshop.trial", path]
    failed = {"path": path, "ok": False}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment())
    except subprocess.TimeoutExpired:
        return {**failed, "error": f"{Path(path).name}: not loaded within {PATIENCE_S:.0f} s"}
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return {**failed, "error": f"{Path(path).name}: loading it ends the process ({done.returncode}): {last}"}


def _words(result: dict[str, Any]) -> str:
    if not result["ok"]:
        return f"{result['path']}: FAILED: {result['error']}"
    said = [result["architecture"] or result["format"], f"{percent(share(result['cost_ns']))} of a core"]
    said += [f"latency {result['latency']} samples", f"peak {result['peak_db']:.1f} dBFS"]
    said += ["self-test passed"] if result["self_test"] else []
    return f"{result['path']}: ok: {', '.join(said)}"


def try_out(path: str) -> dict[str, Any]:
    """Build a file's program as the rack does, and play noise and silence through it. Raises what goes wrong."""
    from jaxmodels import ModelFileError, inspect
    from rack.protocol import BoxSpec, Build, Built, Failed

    from .build import Workshop
    from .cost import cost_ns, played

    format, facts = inspect(path)
    folder = cache_folder() / "programs"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    built = Workshop(folder).order(Build(1, BoxSpec("model", path), 1, RATE, BLOCK))
    if isinstance(built, Failed):
        raise ModelFileError(built.error)
    noise = 0.3 * np.random.default_rng(1).standard_normal(int(SECONDS * RATE)).astype(np.float32)
    assert isinstance(built, Built)
    y = played(built.program, built.arrays, np.concatenate([noise, np.zeros_like(noise)]), BLOCK)
    if not np.isfinite(y).all():
        raise ModelFileError(f"{Path(path).name}: makes something that is no sound; it did not train to the end")
    return {
        "path": path,
        "ok": True,
        "error": "",
        "format": format,
        "architecture": facts.architecture,
        "sample_rate": built.sample_rate,
        "parameters": built.parameters,
        "latency": built.latency,
        "receptive_field": built.receptive_field,
        "knobs": [knob.name for knob in built.knobs],
        "peak_db": float(20 * np.log10(max(float(np.abs(y).max()), 1e-6))),
        "cost_ns": cost_ns(built.program, built.arrays, BLOCK, 1),
        "self_test": any("self-test" in note for note in facts.notes),  # a file that fails its own is not loaded
    }


def export(args: argparse.Namespace) -> int:
    """Write a model in another program's format; what that cannot hold is said. Raises RackError."""
    from jaxmodels import ModelFileError, inspect, load
    from jaxmodels import export as write

    source, output = plain_path(args.path), plain_path(args.output)
    if os.path.exists(output) and os.path.samefile(source, output):
        raise RackError(f"{output}: is the file itself; name another")
    try:
        notes = write(output, load(source), args.to, facts=inspect(source)[1])
    except (ModelFileError, ValueError, KeyError, OSError) as error:
        raise RackError(str(error.args[0] if isinstance(error, KeyError) else error)) from None
    print(json.dumps({"path": output, "format": args.to, "notes": notes}) if args.json else output)
    for note in () if args.json else notes:
        print(f"nafx-rack: {note}", file=sys.stderr)
    return 0


def main() -> int:
    from jaxmodels import xla
    from rack.scan import limit_memory

    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    xla.for_programs()
    path = sys.argv[1]
    limit_memory(8 << 30)
    try:
        result = try_out(path)
    except Exception as error:  # whatever it is, it is what the file comes to
        said = str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
        result = {"path": path, "ok": False, "error": said}
    print(json.dumps(result), file=answer, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
