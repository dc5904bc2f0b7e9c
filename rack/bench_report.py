"""What a benchmark found, for people: BENCHMARKS.md, and a table for the terminal."""

from __future__ import annotations

YARDSTICK = ("onnxruntime", "lstm32", 512)  # engine, model and block that others are measured by: Y
RATIOS = (64, 512)  # blocks that stand in Y too


def markdown(report: dict) -> str:
    """The report as BENCHMARKS.md: what was measured on what, and a row for each engine and model."""
    facts, results = report["machine"], report["results"]
    blocks = sorted({found["block"] for found in results})
    cost = {(found["engine"], found["model"], found["block"]): found for found in results}
    yard = cost.get(YARDSTICK, {}).get("ns_per_sample")
    in_y = [block for block in blocks if block in RATIOS and any("in_y" in found for found in results)]
    lines = [
        "# What a sample costs",
        "",
        "Nanoseconds per sample at 48 kHz on one thread (20,833 is real time), by block size; how it is measured: "
        "[benchmarks/README.md](benchmarks/README.md). All rows are from one run: `make bench`. Y is "
        f"onnxruntime's LSTM-32 at 512{f', {yard:.0f} ns here' if yard else ''}, measured in turns with every row.",
        "",
        f"{facts['cpu']}, {facts['cores']} cores, load {facts['load_average']}, {facts['system']}; Python "
        f"{facts['python']}, JAX {facts['jax']}"
        + "".join(f", {name} {found}" for name, found in facts["peers"].items())
        + ".",
        "",
        "| engine | model | "
        + " | ".join([*(f"{block}" for block in blocks), *(f"{block} in Y" for block in in_y)])
        + " | build s | load s | KiB |",
        "|---|---|" + "---:|" * (len(blocks) + len(in_y) + 3),
    ]
    for engine, model in dict.fromkeys((found["engine"], found["model"]) for found in results):
        row = [cost.get((engine, model, block)) for block in blocks]
        ratios = [f"{found['in_y']:.2f}" if (found := cost.get((engine, model, block))) else "" for block in in_y]
        first = next(found for found in row if found)
        rest = [f"{first[name]}" if name in first else "" for name in ("build_s", "load_s", "program_kib")]
        cells = [f"{found['ns_per_sample']:,.0f}" if found else "" for found in row]
        lines.append("| " + " | ".join([engine, model, *cells, *ratios, *rest]) + " |")
    return "\n".join(lines) + "\n"


def table(report: dict) -> str:
    """The report as text: a row for each engine and model, a column for each block size, in ns per sample."""
    blocks = sorted({found["block"] for found in report["results"]})
    cost = {(found["engine"], found["model"], found["block"]): found["ns_per_sample"] for found in report["results"]}
    rows = [f"{'ns per sample':34}" + "".join(f"{block:>10}" for block in blocks)]
    for engine, model in dict.fromkeys((engine, model) for engine, model, _ in cost):
        cells = (cost.get((engine, model, block)) for block in blocks)
        rows.append(f"{engine:12}{model:22}" + "".join(f"{cell:10.1f}" if cell else " " * 10 for cell in cells))
    reasons: dict[tuple[str, str], list[str]] = {}
    for found in report["skipped"]:
        reasons.setdefault((found["engine"], found["reason"]), []).append(found["model"])
    rows += [f"skipped: {engine} {', '.join(models)}: {why}" for (engine, why), models in reasons.items()]
    facts = report["machine"]
    return "\n".join([*rows, f"{facts['cpu']}, load {facts['load_average']}, jax {facts['jax']}"])
