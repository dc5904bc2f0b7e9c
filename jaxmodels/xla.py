"""The compiler flags and runtime settings that streaming and training need, in one place.

`configure()` must run before JAX starts its CPU client; `jaxmodels` calls it on import. What each flag buys was
measured on LSTM-16 and NAM-sized WaveNets:

- `xla_cpu_small_while_loop_byte_threshold`: a whole small `scan` becomes one native loop instead of one kernel call per
  operation per sample (3 times faster for small recurrent networks);
- `xla_cpu_multi_thread_eigen=false`: a block is too short to share between threads, and a woken worker is a late one;
- `xla_cpu_enable_concurrency_optimized_scheduler=false`: the same for the parts of one program, which would be handed
  to threads (a chain of seven DSP boxes at 64 samples: half the time, and none of the jitter);
- `xla_cpu_prefer_vector_width`: use the widest vectors that the CPU has;
- `xla_cpu_experimental_ynn_fusion_type=` (empty): keep small matmuls out of the library path.
"""

from __future__ import annotations

import os
import platform
from functools import cache

OLDER_EMITTERS = "--xla_cpu_use_fusion_emitters=false"
TRAINING = (
    "--xla_cpu_enable_concurrency_optimized_scheduler=true"
    " --xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_REDUCE"
)
QUICKLY = {"xla_backend_optimization_level": 0}  # compiler_options of what is run but once: a third of the time


@cache
def cpu_features() -> str:
    """The vector extensions of this CPU, as one stable word: part of every cache key of compiled programs."""
    try:
        with open("/proc/cpuinfo") as info:
            flags = next((line for line in info if line.startswith(("flags", "Features"))), "")
    except OSError:
        flags = ""
    known = ("avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "asimd", "sve")
    have = set(flags.split())
    return "-".join([platform.machine(), *(name for name in known if name in have)])


def flags() -> str:
    """The value of XLA_FLAGS for this CPU."""
    width = 512 if "avx512f" in cpu_features() else 256
    return (
        "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000"
        " --xla_cpu_multi_thread_eigen=false"
        " --xla_cpu_enable_concurrency_optimized_scheduler=false"
        f" --xla_cpu_prefer_vector_width={width}"
        " --xla_cpu_experimental_ynn_fusion_type="
    )


def configure() -> None:
    """Put the flags in the environment, behind whatever the user set (the user's own settings win)."""
    mine, theirs = flags(), os.environ.get("XLA_FLAGS", "")
    if mine not in theirs:
        os.environ["XLA_FLAGS"] = f"{mine} {theirs}".strip()


def for_training() -> None:
    """The settings for learning in batches; before JAX starts its client.

    Here nobody waits for a block: parts of a program go to several threads, and sums over long signals to the library.
    Together they save a seventh of a step of a TCN, and cost nothing elsewhere.
    """
    configure()
    os.environ["XLA_FLAGS"] += f" {TRAINING}"


def for_programs() -> None:
    """The settings for compiling or running what a real-time thread calls; before JAX starts its client.

    Loops become one kernel whatever their size, and nothing is cut into parts for several threads: the calling thread
    would wait for one that has no real-time priority. What is fused goes through XLA's older emitters: their code is as
    fast in networks, a seventh faster in the reverb, and sooner made. Training wants none of these.
    """
    configure()
    os.environ["XLA_FLAGS"] += f" {OLDER_EMITTERS}"
    os.environ["XLA_FLAGS"] += f" --xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold={1 << 30}"
    os.environ["NPROC"] = "1"
    import jax

    jax.config.update("jax_enable_compilation_cache", False)  # a program that comes from there cannot be stored again
