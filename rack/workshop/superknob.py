"""The workshop's order to train the SuperKnob: examples in, a mapping out.

Compiling takes some 3 s and is rehearsed while the workshop is idle; after that an order takes about a tenth of a
second, whatever the number of examples and knobs up to 16 of each.
"""

from __future__ import annotations

import numpy as np

from rack.examples import Example, ExampleError, Examples, Mapping, check, fingerprint, glided
from rack.protocol import Failed, Taught, Teach
from rack.superknob import packed, weights

MISSED = 0.01  # rms of an example that is worth a remark


def teach(order: Teach) -> Taught | Failed:
    """Taught, or Failed with the reason in words."""
    from trainer.config import TrainerError

    try:
        check(order.examples)
        return _taught(order)
    except (ExampleError, TrainerError) as error:
        return Failed(order.ticket, str(error))


def rehearse() -> None:
    """Learn two made-up examples, anew and on from there: everything is compiled then."""
    from trainer.superknob import fit

    positions, values = np.array([[0.0], [1.0]]), np.array([[0.0], [1.0]])
    fit(positions, 1 - values, fit(positions, values).weights)


def _taught(order: Teach) -> Taught:
    keys, examples = glided(order.examples), order.examples.examples
    if not keys:  # switches alone: they follow the nearest example and need no network
        mapping = Mapping(order.examples.knobs, (), (), (), packed(np.zeros(16 * 3)), fingerprint(order.examples))
        return Taught(order.ticket, mapping, (0.0,) * len(examples), 0.0, 0, 0.0)

    from trainer.superknob import fit

    positions = np.array([example.position for example in examples])
    values = np.array([[example.values.get(key, np.nan) for key in keys] for example in examples])
    start, remark = _start(order.mapping, keys, order.examples)
    found = fit(positions, values, start, order.seed)
    mapping = Mapping(
        order.examples.knobs,
        keys,
        tuple(np.nanmin(values, axis=0).tolist()),
        tuple(np.nanmax(values, axis=0).tolist()),
        packed(*map(np.asarray, found.weights)),
        fingerprint(order.examples),
    )
    return Taught(
        order.ticket,
        mapping,
        tuple(found.residuals.tolist()),
        found.rmse,
        found.steps,
        found.seconds,
        tuple(found.curve.tolist()),
        (*remark, *_missed(examples, found.residuals)),
    )


def _missed(examples: tuple[Example, ...], residuals: np.ndarray) -> tuple[str, ...]:
    """A sentence where an example is not met, about the worst."""
    count, worst = int((residuals > MISSED).sum()), int(np.argmax(residuals))
    if not count:
        return ()
    others = f" and {count - 1} more less" if count > 1 else ""
    name, by = examples[worst].name, residuals[worst]
    return (f"{name!r} is missed by {by:.2f}{others}; train on, delete some, or use interpolation, which is exact",)


def _start(mapping: Mapping | None, keys: tuple[str, ...], examples: Examples):
    """The weights to go on from, with fresh outputs for knobs that are new, and a remark where there are none."""
    if mapping is None:
        return None, ()
    if mapping.knobs != examples.knobs:
        return None, (f"trained anew: the mapping was made for {mapping.knobs} knob(s), not {examples.knobs}",)
    try:
        old = weights(mapping)
    except ExampleError as error:
        return None, (f"trained anew: {error}",)
    from jaxmodels.superknob import Weights

    out, offset = np.zeros((len(keys), old.out.shape[1])), np.zeros(len(keys))
    for row, key in enumerate(keys):
        if key in mapping.keys:
            known = mapping.keys.index(key)
            out[row], offset[row] = old.out[known], old.offset[known]
    return Weights(old.into, old.bias, out, offset), ()
