"""What a sample costs: `nafx-rack bench` measures networks, boxes and whole racks the way they play live.

A measurement is one block after another of a guitar through a compiled step whose state is donated and packed, from
numpy to numpy, on one thread: the time of a call, dispatch included, divided by the samples of its block. Other engines
(torch, onnxruntime) run the same recurrent networks, with state in and out; they live in the checkout's `benchmarks/`.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import platform
import runpy
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import serialize_executable

from jaxmodels import ring, xla
from jaxmodels.boxes import BOXES, make
from jaxmodels.effect import Effect, default_positions, hold
from jaxmodels.recurrent import from_torch
from jaxmodels.tcn import MicroTCN, SteerableTCN
from jaxmodels.wavenet import PRESETS, WaveNet
from rack import paths
from rack.bench_report import YARDSTICK, markdown, table
from rack.catalogue import catalogue
from rack.config import load
from rack.errors import RackError

RATE = 48000
BLOCKS = (64, 128, 512, 2048)
ENGINES = ("jax", "torch", "torch_paper", "onnxruntime")
RECURRENT = {  # gates, hidden units
    **{f"lstm{hidden}": (4, hidden) for hidden in (8, 16, 32, 40, 64)},
    **{f"gru{hidden}": (3, hidden) for hidden in (16, 32)},
}
PEERS = Path(__file__).resolve().parents[1] / "benchmarks"

Step = Callable[[np.ndarray], Any]  # one block [T, C] in, the next block of output


class Skip(Exception):
    """A measurement that cannot be made on this machine; the text says why."""


class Plan(NamedTuple):
    """How thoroughly to measure: so many runs of so many seconds; the result is the median of their medians."""

    runs: int
    seconds: float


def tensors(gates: int, hidden: int, inputs: int = 1) -> dict[str, np.ndarray]:
    """A recurrent network's weights by PyTorch's names, the same every time; `head` and `head_bias` are Linear's."""
    rng, bound = np.random.default_rng(hidden), hidden**-0.5
    shapes = {
        "weight_ih_l0": (gates * hidden, inputs),
        "weight_hh_l0": (gates * hidden, hidden),
        "bias_ih_l0": (gates * hidden,),
        "bias_hh_l0": (gates * hidden,),
        "head": (1, hidden),
        "head_bias": (1,),
    }
    return {name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}


def recurrent(name: str) -> Effect:
    """One of the recurrent networks as a box."""
    weights = tensors(*RECURRENT[name])
    head, bias = weights.pop("head"), weights.pop("head_bias")
    return from_torch(weights, head, bias, skip=False)


def wavenet(preset: str) -> Effect:
    """A WaveNet of one of NAM's sizes."""
    return WaveNet(PRESETS[preset], sample_rate=RATE)


# Networks by name. Boxes of the table and shipped racks are added by their own names.
NETWORKS: dict[str, Callable[[], Any]] = {
    **{name: lambda name=name: recurrent(name) for name in RECURRENT},
    **{
        preset if preset.startswith("a2") else f"nam_{preset}": lambda preset=preset: wavenet(preset)
        for preset in PRESETS
    },
    "steerable_tcn": lambda: SteerableTCN(),
    "tcn300c": lambda: MicroTCN(MicroTCN.Settings(kernel_size=13)),
}
PEER_TCNS = ("tcn300c",)
PEER_WAVENETS = tuple(name for name in NETWORKS if name.startswith(("nam_", "a2_")))


def names() -> list[str]:
    """Everything that can be measured."""
    return [*NETWORKS, *BOXES, *(f"rack:{name}" for name in _shipped())]


def _shipped():
    return load(paths.shipped_racks(), catalogue())[0].racks


def signal(seconds: float = 4.0) -> np.ndarray:
    """A guitar, `[N]` float32 at 48 kHz: the shipped loop, or plucked strings where nothing is shipped."""
    path, wanted = paths.loop_path(), int(seconds * RATE)
    if path is None:
        return plucks(wanted)
    import soundfile

    x, _ = soundfile.read(path, dtype="float32", always_2d=True)
    return np.resize(x.mean(axis=1), wanted).astype(np.float32)


def plucks(samples: int) -> np.ndarray:
    """Plucked strings (Karplus and Strong, 1983), four in a second, `[N]` float32."""
    rng, out = np.random.default_rng(0), np.zeros(samples, np.float32)
    for start in range(0, samples, RATE // 4):
        period = round(RATE / rng.uniform(82, 330))
        string = rng.uniform(-0.5, 0.5, period)
        turns = -(-min(samples - start, RATE) // period)
        sound = []
        for _ in range(turns):
            sound.append(string)
            string = 0.498 * (string + np.roll(string, 1))
        ringing = np.concatenate(sound)[: samples - start]
        out[start : start + len(ringing)] += ringing
    return np.clip(out, -1, 1).astype(np.float32)


def box_step(effect: Effect, block: int) -> Step:
    """A box as one compiled call; its weights and state travel as few arrays, as they do in the engine."""
    from rack.workshop import loop
    from rack.workshop.row import Layout

    positions = jnp.asarray(default_positions(effect))
    state = ring.pack(effect.initial_state(positions), block)
    weights_layout, state_layout = Layout(effect), Layout(state)

    def step(weights, state, x, positions):
        def once(carried, x):
            # As in a rack, where knobs glide: XLA would take out of the loop what depends on a value that stands still.
            state, positions = carried
            y, after = weights_layout.part(weights).step(state_layout.part(state), x, hold(positions, block))
            return (state_layout.join(after), lax.optimization_barrier(positions)), y, ()

        carried = state, positions
        library = loop.has_large_product(once, carried, x)
        (after, _), y, _ = once(carried, x) if library else loop.as_one_loop(once, carried, x)
        return y, after

    weights, held = jax.device_get((weights_layout.join(effect), state_layout.join(state)))
    return _compiled(step, jax.device_put(weights), held, effect.channels, block, jax.device_put(positions))


def rack_step(name: str, block: int) -> tuple[Step, int]:
    """A shipped rack, limiter included, as the one fused program that the engine runs; and its number of channels."""
    from rack.shared import KNOBS
    from rack.workshop.render import row_of
    from rack.workshop.row import prepare, program

    rack = _shipped()[name]
    row = row_of(rack, RATE, rack.channels)
    boxes = [prepare(placed.effect, placed.positions, block) for placed in row]
    targets = np.zeros((len(row), KNOBS), np.float32)
    for target, placed in zip(targets, row, strict=True):
        target[: 1 + len(placed.positions)] = [placed.on, *placed.positions]
    weights, states = jax.device_put(tuple(box.weights for box in boxes)), tuple(box.state for box in boxes)

    def step(weights, states, x, targets):
        y, after, _ = program(boxes, RATE)(weights, states, x, x, targets)
        return y, after

    return _compiled(step, weights, states, rack.channels, block, targets), rack.channels


@dataclass
class Compiled:
    """One compiled step with its weights and knobs; each call takes a block and moves the state on."""

    program: Any
    weights: Any
    state: Any
    knobs: Any

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y, self.state = self.program(self.weights, self.state, x, self.knobs)
        return np.asarray(y)


def _compiled(step, weights, state, channels: int, block: int, knobs) -> Compiled:
    shape = jax.ShapeDtypeStruct((block, channels), np.float32)
    program = jax.jit(step, donate_argnums=1, keep_unused=True).lower(weights, state, shape, knobs).compile()
    return Compiled(program, weights, state, knobs)


def stored(step: Step) -> dict[str, float]:
    """How large a step's program is on disk, and how long a process takes to load it; nothing for other engines."""
    if not isinstance(step, Compiled):
        return {}
    packed = serialize_executable.serialize(step.program)
    start = time.perf_counter()
    serialize_executable.deserialize_and_load(*packed)
    return {"program_kib": round(len(packed[0]) / 1024), "load_s": round(time.perf_counter() - start, 3)}


def peer_step(engine: str, name: str, block: int) -> Step:
    """A network in another engine, with the same weights. Raises Skip where the engine or the network is missing.

    `torch_paper` is torch streaming a TCN as its paper does, the whole receptive field computed for every block.
    """
    by_paper = engine == "torch_paper"
    known = PEER_TCNS if by_paper else (*RECURRENT, *((*PEER_TCNS, *PEER_WAVENETS) if engine == "torch" else ()))
    if name not in known:
        raise Skip(f"only {', '.join(known)} are compared")
    path = PEERS / f"{engine.partition('_')[0]}_peer.py"
    if not path.is_file():
        raise Skip("the other engines are part of the source checkout")
    try:
        peer = runpy.run_path(str(path))
    except ModuleNotFoundError as error:
        raise Skip(f"{error.name} is not installed: run `make bench-env`") from None
    if name in RECURRENT:
        return peer["step"]("lstm" if RECURRENT[name][0] == 4 else "gru", tensors(*RECURRENT[name]), block)
    network = NETWORKS[name]()
    if name in PEER_WAVENETS:
        weights = np.concatenate([network.weights[...], network.head_scale[...]])
        return peer["wavenet_step"](json.loads(network.settings.config), weights, block)
    dilations = [network.settings.dilation_growth**n for n in range(network.settings.blocks)]
    return peer["tcn_step"](network.weights(), dilations, [k.default for k in network.knobs], block, not by_paper)


def step_for(engine: str, name: str, block: int) -> tuple[Step, int]:
    """The call to be measured, and how many channels it takes."""
    if engine != "jax":
        return peer_step(engine, name, block), 1
    if name.startswith("rack:"):
        return rack_step(name.removeprefix("rack:"), block)
    effect = NETWORKS[name]() if name in NETWORKS else make(name, sample_rate=RATE)
    return box_step(effect, block), effect.channels


def measure(turns: Sequence[tuple[Step, np.ndarray]], plan: Plan) -> list[float]:
    """Nanoseconds per sample of each step on its blocks `[N, T, C]`, which are played over and over.

    The steps take turns, run by run, so that whatever else the machine does falls on all of them. The first run of each
    is thrown away.
    """
    playing = [(step, itertools.cycle(blocks), blocks.shape[1], []) for step, blocks in turns]
    gc.collect()
    gc.disable()
    try:
        for _ in range(plan.runs + 1):
            for step, coming, _, medians in playing:
                medians.append(_run(step, coming, plan.seconds))
    finally:
        gc.enable()
    return [statistics.median(medians[1:]) / length for _, _, length, medians in playing]


def _run(step: Step, coming: Iterator[np.ndarray], seconds: float) -> float:
    """The median of a call, in nanoseconds."""
    clock = time.perf_counter_ns
    times, end = [], clock() + int(seconds * 1e9)
    while clock() < end or len(times) < 20:
        block = next(coming)
        start = clock()
        step(block)
        times.append(clock() - start)
    return statistics.median(times)


def bench(engines, models, blocks, plan: Plan, progress=lambda line: None) -> dict:
    """Every engine on every model at every block size: results, what was skipped and why, and the machine."""
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    results, skipped, x = [], {}, signal()
    yardstick = _yardstick(x) if YARDSTICK[0] in engines else []
    for model in models:
        for block in blocks:
            progress(f"{model} {block}")
            made = {}
            for engine in engines:
                try:
                    start = time.perf_counter()
                    step, channels = step_for(engine, model, block)
                    made[engine] = step, channels, time.perf_counter() - start
                except Skip as reason:
                    skipped[engine, model] = {"engine": engine, "model": model, "reason": str(reason)}
            if not made:
                break
            cut = cuts(x, block, max(channels for _, channels, _ in made.values()))
            costs = measure([*((step, cut) for step, _, _ in made.values()), *yardstick], plan)
            y = costs.pop() if yardstick else None
            for (engine, (step, _, built)), cost in zip(made.items(), costs, strict=True):
                found = {"engine": engine, "model": model, "block": block, "ns_per_sample": round(cost, 1)}
                if y:
                    found["in_y"] = round(cost / y, 3)
                results.append(found | {"build_s": round(built, 3)} | stored(step))
    return {"results": results, "skipped": list(skipped.values()), "machine": machine()}


def _yardstick(x: np.ndarray) -> list[tuple[Step, np.ndarray]]:
    """The turn of what others are measured by, in every measurement; none where its engine is missing."""
    engine, model, block = YARDSTICK
    try:
        return [(peer_step(engine, model, block), cuts(x, block, 1))]
    except Skip:
        return []


def cuts(x: np.ndarray, block: int, channels: int) -> np.ndarray:
    """A signal `[N]` as blocks `[N // T, T, C]`, the same in every channel."""
    return x[: len(x) // block * block].reshape(-1, block, 1).repeat(channels, axis=2)


def machine() -> dict:
    """What the numbers were measured on."""
    try:
        with open("/proc/cpuinfo") as info:
            cpu = next(line.partition(":")[2].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "features": xla.cpu_features(),
        "load_average": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "jax": jax.__version__,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "peers": {name: version(name) for name in ("torch", "onnxruntime") if find_spec(name)},
        "rate": RATE,
    }


def chosen(words: str | None, known, what: str) -> list[str]:
    """A comma-separated choice, in its own order; everything where nothing is chosen. Raises RackError."""
    picked = [word.strip() for word in words.split(",") if word.strip()] if words else list(known)
    if unknown := [word for word in picked if word not in known]:
        raise RackError(f"no {what} {', '.join(map(repr, unknown))}; there are: {', '.join(known)}")
    return picked


def main(args: argparse.Namespace) -> int:
    """`nafx-rack bench [--json] [--quick] [--engines ...] [--models ...] [--blocks ...]`."""
    engines = chosen(args.engines, ENGINES, "engine")
    models = chosen(args.models, names(), "model")
    blocks = _sizes(args.blocks) if args.blocks else BLOCKS[:: 2 if args.quick else 1]
    plan = Plan(1, 0.1) if args.quick else Plan(5, 0.4)
    xla.for_programs()
    watched = sys.stderr.isatty()
    report = bench(engines, models, blocks, plan, _show if watched else lambda line: None)
    if watched:
        _show("")
    if args.markdown:
        Path(args.markdown).write_text(markdown(report), encoding="utf-8")
    print(json.dumps(report, indent=1) if args.json else table(report))
    return 0


def _sizes(words: str) -> list[int]:
    try:
        sizes = [int(word) for word in words.split(",")]
    except ValueError:
        raise RackError(f"--blocks {words}: must be whole numbers with commas between them, such as 64,512") from None
    if bad := [size for size in sizes if not 1 <= size <= 2048]:
        raise RackError(f"--blocks {', '.join(map(str, bad))}: must be 1 to 2048")
    return sizes


def _show(line: str) -> None:
    print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
