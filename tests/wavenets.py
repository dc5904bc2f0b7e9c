"""Small WaveNets for tests, as NAM's `config` describes them."""

from __future__ import annotations

from jaxmodels import wavenet_config
from jaxmodels.wavenet import Settings

SMALL = {
    "layers": [
        {
            "input_size": 1,
            "condition_size": 1,
            "channels": 4,
            "head": {"out_channels": 1, "kernel_size": 3, "bias": True},
            "kernel_size": 3,
            "dilations": [1, 2, 4, 100],
            "activation": "Tanh",
        }
    ]
}


def film(groups: int = 1, shift: bool = True) -> dict:
    return {"active": True, "shift": shift, "groups": groups}


STEERED = {
    # A knob steers it through FiLMs.
    "in_channels": 2,
    "layers": [
        {
            "input_size": 2,
            "condition_size": 2,
            "channels": 4,
            "head_size": 1,
            "head_bias": True,
            "kernel_size": 2,
            "dilations": [1, 30, 5],
            "activation": "SiLU",
            "conv_pre_film": film(),
            "activation_pre_film": film(2, shift=False),
            "layer1x1_post_film": film(),
        }
    ],
}
NESTED = {
    "in_channels": 5,
    "layers": [
        {
            "input_size": 5,
            "condition_size": 5,
            "channels": 3,
            "head_size": 4,
            "head_bias": True,
            "kernel_size": 2,
            "dilations": [1, 5],
            "activation": "SiLU",
            "gated": True,
        }
    ],
}
EVERYTHING = {
    # Every field of a config at work: groups, gates, all FiLMs, kernels and activations of their own, a nested network,
    # a head behind the stack. Five inputs: the audio, a knob, and a switch of three places.
    "in_channels": 5,
    "condition_dsp": {"architecture": "WaveNet", "config": NESTED},
    "layers": [
        {
            "input_size": 5,
            "condition_size": 4,
            "channels": 6,
            "bottleneck": 4,
            "kernel_sizes": [3, 1, 2],
            "dilations": [1, 1, 40],
            "activation": ["Tanh", {"type": "PReLU", "negative_slopes": [0.1, 0.2, 0.3, 0.4]}, "Hardswish"],
            "gating_mode": ["gated", "none", "blended"],
            "secondary_activation": ["Sigmoid", "", {"type": "LeakyHardtanh", "min_slope": 0.1}],
            "groups_input": 2,
            "groups_input_mixin": 4,
            "layer1x1": {"active": True, "groups": 2},
            "head1x1": {"active": True, "out_channels": 6, "groups": 2},
            "head": {"out_channels": 8, "kernel_size": 4, "bias": True, "head_dilation": 3},
            "conv_pre_film": film(2),
            "conv_post_film": film(4),
            "input_mixin_pre_film": film(1),
            "input_mixin_post_film": film(2, shift=False),
            "activation_pre_film": film(),
            "activation_post_film": film(4),
            "layer1x1_post_film": film(2),
            "head1x1_post_film": film(),
        },
        {
            "input_size": 6,
            "condition_size": 4,
            "channels": 8,
            "kernel_size": 5,
            "dilations": [2, 7],
            "activation": {"type": "LeakyReLU", "negative_slope": 0.3},
            "layer1x1": {"active": False, "groups": 1},
            "head_size": 2,
            "head_bias": False,
        },
    ],
    "head": {"channels": 3, "out_channels": 1, "kernel_sizes": [3, 2], "activation": "Softsign"},
}


def settings(config: dict) -> Settings:
    """What a WaveNet of this `config` is made from."""
    return Settings(wavenet_config.canonical(config))
