"""Glides: knobs, or the SuperKnob, on their way somewhere, moved on at control rate. The smoother does the rest.

A glide is one undo step, taken when it begins. A knob that somebody else turns meanwhile is let go.
"""

from __future__ import annotations

from msgspec.structs import replace

from .driving import driven_to, driving, standing, with_positions
from .state import Glide, State, World, with_scene

TICK_S = 0.02  # as long as the smoother of a knob


def with_glide(state: State, glide: Glide) -> State:
    """A state with one more glide; the one before of the same kind ends where it is."""
    others = tuple(g for g in state.glides if bool(g.goal) != bool(glide.goal))
    return replace(state, glides=(*others, glide))


def place_now(state: State) -> tuple[float, ...]:
    """Where the SuperKnob plays: on the way to where it stands, while it glides."""
    glide = next((g for g in state.glides if g.goal), None)
    return _between(glide.start, glide.goal, glide.share) if glide else state.scene.rack.superknob.position


def advance(state: State, world: World, seconds: float) -> State:
    """The state so much later: every glide is further on, and gone where it has arrived."""
    rack, going = state.scene.rack, []
    infos = driving(state, world).infos
    for glide in state.glides:
        glide = replace(glide, elapsed_s=min(glide.elapsed_s + seconds, glide.seconds))
        if glide.goal:
            if rack.superknob.playing:
                rack = driven_to(state, world, rack, _between(glide.start, glide.goal, glide.share))
        else:
            now = standing(replace(state, scene=replace(state.scene, rack=rack)), world)
            left = {k: way for k, way in glide.knobs.items() if k in now and glide.last.get(k, now[k]) == now[k]}
            wanted = {k: a + (b - a) * glide.share for k, (a, b) in left.items()}
            rack = with_positions(rack, infos, wanted)
            now = standing(replace(state, scene=replace(state.scene, rack=rack)), world)
            glide = replace(glide, knobs=left, last={k: now[k] for k in left})
        if glide.share < 1 and (glide.goal or glide.knobs):
            going.append(glide)
    return replace(with_scene(state, replace(state.scene, rack=rack)), glides=tuple(going))


def _between(start: tuple[float, ...], goal: tuple[float, ...], share: float) -> tuple[float, ...]:
    return goal if share >= 1 else tuple(a + (b - a) * share for a, b in zip(start, goal, strict=True))
