"""A catalogue for tests: small, with every kind of knob and setting."""

from __future__ import annotations

from rack.catalogue import BoxInfo, KnobInfo, SettingInfo

CATALOGUE = {
    box.kind: box
    for box in (
        BoxInfo("gain", "louder or softer", (KnobInfo("gain", "dB", -24.0, 24.0, 0.0),)),
        BoxInfo(
            "low_pass",
            "darker",
            (KnobInfo("cutoff", "Hz", 50.0, 20000.0, 8000.0, "log"), KnobInfo("q", "", 0.1, 1.0, 0.7)),
        ),
        BoxInfo(
            "delay",
            "echoes",
            (
                KnobInfo("time", "ms", 1.0, 2000.0, 350.0, "log"),
                KnobInfo("feedback", "", 0.0, 0.95, 0.35),
                KnobInfo("mode", "", 0.0, 2.0, 0.0, "linear", ("tape", "clean", "dark")),
            ),
            (SettingInfo("ping_pong", "bool", False),),
        ),
        BoxInfo(
            "drive",
            "a random network",
            (KnobInfo("drive", "dB", -24.0, 24.0, 0.0),),
            (
                SettingInfo("seed", "int", 42, 0, 1024),
                SettingInfo("activation", "str", "tanh", choices=("tanh", "relu", "sine")),
                SettingInfo("spread", "float", 0.5, 0.0, 1.0),
            ),
        ),
        BoxInfo("cab", "a loudspeaker", (KnobInfo("level", "dB", -24.0, 24.0, 0.0),), (SettingInfo("ir", "str", ""),)),
        BoxInfo("limiter", "the end of every rack", (KnobInfo("ceiling", "dB", -24.0, -1.0, -1.0),)),
    )
}
