"""Can any file harm us? 100,000 broken model files through `inspect` and `load`.

    python -m tests.jaxmodels.prove_parsers [--cases 100000] [--seed 0] [--workers 2] [--keep FOLDER]

Real files and made ones, their bytes and their JSON changed at random, cut off, gzipped, zipped; documents that
hypothesis makes up; numbers that are none; sizes that nobody has; gzip and zip bombs; pickles that try to run code.
Only ModelFileError may come out, within 1 s of processor time and 1 GiB of memory; nothing may be written or started.
Prints a summary as JSON; ends with 1 after any failure, with the files that failed in `--keep`.

Case n of a seed is always the same file. A worker is a process that dies of what is wrong: 20 s of work on one file, a
crash, a number of bytes that the limit of its address space refuses.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis
import jax
import numpy as np

from jaxmodels import ModelFileError, inspect, load
from tests.jaxmodels.broken import DOCUMENTS, case, seeds

MOST_SECONDS, MOST_BYTES, HANG_S = 1.0, 2**30, 20
CHUNK = 5000  # cases of one worker
HYPOTHESIS_EVERY = 10  # one case of so many is made up by hypothesis
STARTED = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn", "socket.connect",
           "subprocess.Popen", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree", "ctypes.dlopen")  # fmt: skip


class Harm(Exception):
    """What a file did that it must not."""


# --- the run ---


class Watch:
    """Loads one file after another and says what each did; raises Harm.

    Nothing may take more than `most_seconds`; a run that shares its machine with others allows for them.
    """

    def __init__(self, folder: Path, most_seconds: float = MOST_SECONDS):
        self.most_seconds = most_seconds
        self.folder, self.loading, self.told = folder, False, []
        self.slowest = 0.0
        self.canary = folder / "canary"
        os.environ["NAFX_CANARY"] = str(self.canary)
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple) -> None:
        if not self.loading:
            return
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if event in STARTED or writes:
            self.told.append(f"{event} {arguments!r:.200}")

    def __call__(self, content: bytes, name: str) -> str:
        """`loaded` or `refused`."""
        path = self.folder / f"case{Path(name).suffix}"
        path.write_bytes(content)
        self._timed(inspect, path)
        box = self._timed(load, path)
        if box is None:
            return "refused"
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(box)):
            raise Harm("it made a network with numbers that are not finite")
        return "loaded"

    def _timed(self, reader: Callable, path: Path) -> Any:
        """What a reader makes of a file, None where it refuses it."""
        self.told, self.loading, start, made = [], True, time.process_time(), None
        try:
            made = reader(path)
        except ModelFileError as error:
            if len(str(error)) > 2000:
                raise Harm(f"an error of {len(str(error))} characters") from error
        finally:
            self.loading, seconds = False, time.process_time() - start
        self.slowest = max(self.slowest, seconds)
        if self.told or self.canary.exists():
            raise Harm(f"it did this: {self.told or 'the canary is there'}")
        if seconds > self.most_seconds:
            raise Harm(f"{reader.__name__} took {seconds:.2f} s")
        return made


def warm(watch: Watch, files: dict[str, bytes]) -> None:
    """Load every file once: what is imported and compiled for the first of its family does not count."""
    limit, watch.most_seconds = watch.most_seconds, math.inf
    for name, content in files.items():
        watch(content, name)
    watch.most_seconds, watch.slowest = limit, 0.0


def run(watch: Watch, files: dict[str, bytes], *, seed: int, first: int, count: int, note: Callable) -> dict[str, Any]:
    """Cases first.. of a seed; `note(n, content, failed)` is told each before it is tried, and again if it failed."""
    counts, failures = Counter(), []

    def attempt(n: int | str, kind: str, name: str, content: bytes) -> None:
        note(n, content, False)
        try:
            counts[f"{kind}: {watch(content, name)}"] += 1
        except Exception as error:
            failures.append({"case": n, "kind": kind, "file": name, "error": f"{type(error).__name__}: {error}"[:500]})
            note(n, content, True)

    made_up = count // HYPOTHESIS_EVERY
    for n in range(first, first + count - made_up):
        attempt(n, *case(seed, n, files))
    serial = iter(range(10**9))

    @hypothesis.seed(seed * 1_000_003 + first)
    @hypothesis.settings(max_examples=max(made_up, 1), deadline=None, database=None, phases=[hypothesis.Phase.generate],
                         suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
    @hypothesis.given(DOCUMENTS)
    def documents(document):
        attempt(f"{first}h{next(serial)}", "hypothesis", "made.json", json.dumps(document).encode())

    if made_up:
        documents()
    return {"counts": dict(counts), "failures": failures, "slowest_s": round(watch.slowest, 3)}


def worker(seed: int, first: int, count: int, keep: Path | None) -> None:
    """One process: what it finds goes to standard output as JSON; which case it is at, to a file."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files, watch = seeds(folder), Watch(folder)
        warm(watch, files)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))

        def note(n: int | str, content: bytes, failed: bool) -> None:
            signal.setitimer(signal.ITIMER_PROF, HANG_S)
            if keep and failed:
                (keep / f"case-{seed}-{n}").write_bytes(content)

        faulthandler.register(signal.SIGPROF, chain=True)  # a traceback, then what the signal does: the end
        found = run(watch, files, seed=seed, first=first, count=count, note=note)
        signal.setitimer(signal.ITIMER_PROF, 0)
        found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(found))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="a folder for the files that failed")
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    if options.worker:
        worker(options.seed, *options.worker, options.keep)
        return 0
    start = time.monotonic()

    def chunk(first: int) -> dict[str, Any]:
        count = min(CHUNK, options.cases - first)
        more = ["--keep", str(options.keep)] if options.keep else []
        command = [sys.executable, "-m", "tests.jaxmodels.prove_parsers", "--seed", str(options.seed), *more]
        done = subprocess.run([*command, "--worker", str(first), str(count)], capture_output=True, text=True)
        if done.returncode:
            what = {"case": f"{first}..{first + count}", "error": f"died with {done.returncode}: {done.stderr[-3000:]}"}
            return {"counts": {}, "failures": [what], "slowest_s": 0, "peak_mib": 0}
        return json.loads(done.stdout)

    with ThreadPoolExecutor(options.workers) as pool:
        found = list(pool.map(chunk, range(0, options.cases, CHUNK)))
    counts = sum((Counter(part["counts"]) for part in found), Counter())
    failures = [failure for part in found for failure in part["failures"]]
    summary = {
        "cases": sum(counts.values()) + len(failures),
        "loaded": sum(n for key, n in counts.items() if key.endswith("loaded")),
        "refused": sum(n for key, n in counts.items() if key.endswith("refused")),
        "failed": len(failures),
        "slowest_s": max(part["slowest_s"] for part in found),
        "peak_mib": max(part["peak_mib"] for part in found),
        "seconds": round(time.monotonic() - start),
        "seed": options.seed,
        "counts": dict(sorted(counts.items())),
        "failures": failures[:50],
    }
    print(json.dumps(summary, indent=2))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
