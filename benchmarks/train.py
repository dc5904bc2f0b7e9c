"""What a training step costs, ours against torch's in the same run: `python -m benchmarks.train [--seconds 60]`.

Two steps that matter: truncated backpropagation of an LSTM of 16 units (64 signals, 2,048 samples, state carried), and
the steering paper's (4 blocks of 32 channels, one crop of 228,308 samples, MR-STFT). Both sides take Adam steps on the
same signals with all cores, in turns, so that whatever else the machine does falls on both, each pair in a process of
its own; the answer is JSON, medians and best times in seconds. torch is an extra (`make bench-env`); without it only
ours is measured.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from trainer import machine

BATCH, CHUNK, HIDDEN, RATE = 64, 2048, 16, 44100
BLOCKS, WIDTH, KERNEL, GROWTH, CROP = 4, 32, 9, 10, 228308
SIZES = (32, 128, 512, 2048)


def ours_lstm() -> Callable[[], float]:
    """A step of the trainer's own loop."""
    network = {"kind": "lstm", "hidden": HIDDEN}
    segment = {"batch": BATCH, "segment": 8 * CHUNK, "chunk": CHUNK, "warm_up": 1000}
    return _ours(network, {"esr": 0.75, "dc": 0.25}, segment, 20 * RATE)


def ours_steer() -> Callable[[], float]:
    """A step of the trainer's own loop."""
    network = {"kind": "steerable_tcn", "blocks": BLOCKS, "width": WIDTH}
    return _ours(network, {"mr_stft_steer": 1.0}, {"batch": 1, "segment": CROP, "fixed": True}, CROP + 20000)


def _ours(network: dict, loss: dict, schedule: dict, length: int) -> Callable[[], float]:
    from trainer import config, data, recipes, train

    effect = recipes.network(network, [], 0, RATE, 0)
    pairs = data.Split([data.Pair(*_signals(length), RATE)], [], [])
    job = recipes.Job(effect, pairs, recipes.weighted(loss), config.Schedule(**schedule), "esr")
    return train.stepper(job)


def _signals(length: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = (0.3 * rng.normal(size=length)).astype(np.float32)
    return x, np.tanh(4 * x).astype(np.float32)


def torch_lstm() -> Callable[[], float]:
    """CoreAudioML's step in torch."""
    import torch

    net, head = torch.nn.LSTM(1, HIDDEN), torch.nn.Linear(HIDDEN, 1)
    adam = torch.optim.Adam([*net.parameters(), *head.parameters()], 5e-3)
    x, y = (torch.from_numpy(s[: BATCH * CHUNK].reshape(BATCH, CHUNK).T[..., None].copy()) for s in _signals(20 * RATE))
    state = None

    def step() -> float:
        nonlocal state
        adam.zero_grad()
        hidden, after = net(x, state)
        output = head(hidden) + x
        power = (y**2).mean() + 1e-5
        esr = ((y - output) ** 2).mean() / power
        loss = 0.75 * esr + 0.25 * ((y.mean(0) - output.mean(0)) ** 2).mean() / power
        loss.backward()
        adam.step()
        state = tuple(part.detach() for part in after)
        return float(loss)

    return step


def torch_steer() -> Callable[[], float]:
    """steerable-nafx's step in torch."""
    import torch
    from torch import nn
    from torch.nn.functional import conv1d, prelu

    widths = [1, *[WIDTH] * (BLOCKS - 1), 1]
    blocks = nn.ModuleList()
    for n, (i, o) in enumerate(zip(widths, widths[1:], strict=False)):
        conv = nn.Conv1d(i, o, KERNEL, dilation=GROWTH**n)
        blocks.append(nn.ModuleList([conv, nn.Linear(2, 2 * o), nn.PReLU(), nn.Conv1d(i, o, 1, bias=False)]))
    adam = torch.optim.Adam(blocks.parameters(), 1e-3)
    field = 1 + sum((KERNEL - 1) * GROWTH**n for n in range(BLOCKS))
    x, y = _signals(CROP + field - 1)
    x, y = torch.from_numpy(x)[None, None], torch.from_numpy(y[-CROP:])[None]
    windows = {size: torch.hann_window(size) for size in SIZES}

    def magnitudes(x, size):
        spectrum = torch.stft(x, size, size // 2, size, windows[size], return_complex=True)
        return torch.sqrt(torch.clamp(spectrum.real**2 + spectrum.imag**2, min=1e-8))

    wanted = {size: magnitudes(y, size) for size in SIZES}

    def step() -> float:
        adam.zero_grad()
        signal = x
        for conv, film, act, residual in blocks:
            gamma, beta = film(torch.zeros(1, 2))[:, :, None].chunk(2, dim=1)
            made = prelu(gamma * conv1d(signal, conv.weight, conv.bias, dilation=conv.dilation) + beta, act.weight)
            signal = made + residual(signal[:, :, -1 - made.shape[2] : -1])
        loss = torch.zeros(())
        for size in SIZES:
            found = magnitudes(signal[:, 0], size)
            loss = loss + torch.norm(wanted[size] - found) / torch.norm(wanted[size])
            loss = loss + (found.log() - wanted[size].log()).abs().mean()
        (loss / len(SIZES)).backward()
        adam.step()
        return float(loss.detach())

    return step


STEPS = {"lstm16": (ours_lstm, torch_lstm), "steer": (ours_steer, torch_steer)}
RECURRENT = ("lstm16",)


def measure(name: str, seconds: float) -> dict:
    """Both sides in turns for so long."""
    machine.prepare(recurrent=name in RECURRENT)
    engines = {}
    for engine, make in zip(("jax", "torch"), STEPS[name], strict=True):
        try:
            engines[engine] = make()
        except ImportError:
            continue
    for step in engines.values():
        step()
        step()
    times: dict[str, list[tuple[float, float]]] = {engine: [] for engine in engines}
    began = time.monotonic()
    while time.monotonic() - began < seconds or len(next(iter(times.values()))) < 3:
        for engine, step in engines.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            times[engine].append((time.perf_counter() - wall, time.process_time() - cpu))
    result = {
        engine: {"median": float(np.median([w for w, _ in t])), "best": min(w for w, _ in t),
                 "cpu_median": float(np.median([c for _, c in t])), "cpu_best": min(c for _, c in t), "steps": len(t)}
        for engine, t in times.items()
    }  # fmt: skip
    ratio = (
        {key: result["torch"][key] / result["jax"][key] for key in ("median", "best", "cpu_median", "cpu_best")}
        if "torch" in result
        else None
    )
    return {"step": name, **result, "torch_over_jax": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of a training step, ours and torch's.")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each step (30)")
    parser.add_argument("--steps", default=",".join(STEPS), help="of " + ", ".join(STEPS))
    args = parser.parse_args()
    for name in args.steps.split(","):
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            print(json.dumps(alone.submit(measure, name, args.seconds).result(), indent=1), flush=True)


if __name__ == "__main__":
    main()
