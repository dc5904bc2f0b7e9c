"""NAM's plain WaveNets in batches, for training: time-major, `[B, T, C]`, each segment with the past it needs.

Plain means what its trainer makes by default: convolution, input mixed in, activation, a 1x1 convolution back, and
nothing gated, modulated or nested. Anything else is trained through its own step, which is right and slower.
"""

from __future__ import annotations

from jaxmodels import wavenet_config
from jaxmodels.wavenet_layers import split
from jaxmodels.wavenet_plan import Plan, tensors

from .tcn import convolve


def is_plain(plan: Plan) -> bool:
    """Whether `forward` can run it."""
    if plan.in_channels != 1 or plan.head or plan.condition:
        return False
    return all(
        not any(array.films)
        and not array.head1x1
        and array.layer1x1 is not None
        and array.layer1x1.groups == array.groups_input == array.groups_input_mixin == 1
        and not any(layer.secondary or layer.activation.slopes for layer in array.layers)
        for array in plan.arrays
    )


def forward(effect, x):
    """`[B, receptive_field - 1 + T, 1] -> [B, T]`."""
    plan = wavenet_config.plan(effect.settings.config)
    p = split(effect.weights[...], tensors(plan))
    signal, total = x, x[..., :0]
    for i, array in enumerate(plan.arrays):
        y = signal @ p[f"{i}.rechannel.weight"].T
        for n, layer in enumerate(array.layers):
            name = f"{i}.{n}"
            z = convolve(y, p[f"{name}.conv.weight"].transpose(2, 1, 0), array.dilations[n])
            z = z + _end(x, z) @ p[f"{name}.mixin.weight"].T + p[f"{name}.conv.bias"][None, None]
            out = layer.activation(z)
            total = _end(total, out) + out if total.shape[2] else out
            y = _end(y, out) + out @ p[f"{name}.layer1x1.weight"].T + p[f"{name}.layer1x1.bias"][None, None]
        total = convolve(total, p[f"{i}.head.weight"].transpose(2, 1, 0), array.head.dilation)
        total = total + p[f"{i}.head.bias"][None, None] if array.head.bias else total
        signal = y
    return effect.head_scale[...].reshape(()) * total[..., 0]


def _end(signal, like):
    """As many of the last samples as there are in another signal."""
    return signal[:, signal.shape[1] - like.shape[1] :]
