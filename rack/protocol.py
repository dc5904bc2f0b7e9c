"""The typed messages between the processes, and how they travel.

One frame is four bytes of length (big endian) and a MessagePack body. Client and server speak over a Unix socket;
server and engine, server and workshop over a socket pair. Anything that does not decode is an error of the peer.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .catalogue import KnobInfo
from .examples import Examples, Mapping, SuperPlace, SuperView
from .frames import Reader as Reader
from .frames import frame as frame
from .jobs import Job, JobLine
from .maps import Ground, Map, Mapped

# --- What the server tells its clients about the rack ---------------------------------------------------------------


class SlotView(msgspec.Struct, frozen=True):
    """A slot as clients see it; knob values are in their units, in the order of `knobs`."""

    id: str
    type: str
    knobs: tuple[KnobInfo, ...] = ()
    values: tuple[float, ...] = ()
    bypass: bool = False
    model: str = ""
    settings: dict[str, Any] = {}
    notes: str = ""
    status: str = "ready"  # or "building", "failed"
    error: str = ""
    latency: int = 0
    receptive_field: int | None = None
    parameters: int = 0
    sample_rate: int | None = None  # of the model, which the rack's may differ from
    input_db: float | None = None  # the fixed gain before a capture; None where there is no capture
    remarks: tuple[str, ...] = ()  # about its files and their levels, in words


class AudioView(msgspec.Struct, frozen=True):
    """What plays the sound now, and why if it is not what was asked for."""

    backend: str = "starting"  # portaudio, null, stopped
    device: str = ""
    rate: int = 48000
    block: int = 64
    message: str = ""


class View(msgspec.Struct, frozen=True):
    """Everything a client needs to draw the rack."""

    rack: str
    racks: tuple[str, ...]
    slots: tuple[SlotView, ...]
    title: str = ""
    notes: str = ""
    modified: bool = False
    channels: int = 2
    xy: tuple[str, str] = ("", "")  # the two knobs of the XY pad, as "slot.knob"
    bypass: bool = False
    mute: bool = False
    compare: str = "A"
    source: str = "loop"  # input, loop or file
    source_path: str = ""
    recording: str = ""  # path of the file being written
    undo: int = 0
    redo: int = 0
    audio: AudioView = AudioView()
    problems: tuple[str, ...] = ()  # what is wrong with racks.toml or a slot, in words
    jobs: tuple[Job, ...] = ()  # in the order of their queue; those that are over come last
    superknob: SuperView = SuperView()
    snapshots: tuple[str, ...] = ()
    snapshot: str = ""  # the one that was recalled or kept last
    match: bool = False  # A and B are made equally loud
    trim_db: float = 0.0  # what the one that plays is turned down by for that


# --- Client to server ------------------------------------------------------------------------------------------------


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First message of a client. `version` must be the server's own."""

    version: str
    client: str = "cli"


class Set(msgspec.Struct, frozen=True, tag="set"):
    """Change one thing; every change there is has a key (see `server.state`).

    `gesture` groups changes into one undo step: all with the same non-zero number from one client belong together.
    """

    key: str
    value: Any = None
    request: int = 0  # answered by a Reply when not 0
    gesture: int = 0


class Get(msgspec.Struct, frozen=True, tag="get"):
    """Read one thing by its key; answered by a Reply."""

    key: str
    request: int


class Subscribe(msgspec.Struct, frozen=True, tag="subscribe"):
    """How often to send Telemetry (0: never), with scope samples or without; and whether to draw the map of the pad."""

    rate_hz: float
    scope: bool = False
    map: bool = False


FromClient = Hello | Set | Get | Subscribe


# --- Server to client ------------------------------------------------------------------------------------------------


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """The whole view; sent on attach and after every structural change."""

    sequence: int
    view: View


class Turned(msgspec.Struct, frozen=True, tag="turned"):
    """A knob was turned (by anyone, the receiver included): `slot.knob` and its value in units."""

    sequence: int
    key: str
    value: float


class Moved(msgspec.Struct, frozen=True, tag="moved"):
    """The SuperKnob stands elsewhere, or what it says of the knobs there is different; by anyone."""

    sequence: int
    place: SuperPlace


class Telemetry(msgspec.Struct, frozen=True, tag="telemetry"):
    """Meters, at the rate the client asked for. Levels in dBFS, ballistics applied; -120 is silence."""

    input_db: tuple[float, ...] = ()
    output_db: tuple[float, ...] = ()
    input_hold_db: tuple[float, ...] = ()
    output_hold_db: tuple[float, ...] = ()
    input_clip: bool = False  # latched until `meters.reset`
    output_clip: bool = False
    input_max_db: float = -120.0
    output_max_db: float = -120.0
    slots_db: tuple[float, ...] = ()  # output peak of each slot, in order
    hints: tuple[str, ...] = ()  # captures that hear too much or too little, in words
    load: float = 0.0  # callback time / block time, smoothed
    late: int = 0  # blocks that missed their deadline since the stream started
    blocks: int = 0
    recorded_s: float = 0.0
    scope_in: bytes = b""  # float32 mono, about 20 ms, newest last
    scope_out: bytes = b""


class Reply(msgspec.Struct, frozen=True, tag="reply"):
    """The answer to a Get or a Set that carried a request number."""

    request: int
    value: Any = None
    error: str = ""


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """Something worth a line on the screen: level is info, warning or error."""

    level: str
    text: str


FromServer = Snapshot | Turned | Moved | Telemetry | Reply | Notice | JobLine | Ground


# --- Server to workshop, and back ------------------------------------------------------------------------------------


class BoxSpec(msgspec.Struct, frozen=True):
    """All that decides what a slot's program is; knob positions only choose the state it starts from."""

    type: str
    model: str = ""  # absolute path, "" where the box needs none
    settings: dict[str, Any] = {}
    positions: tuple[float, ...] | None = None  # None: the defaults

    def key(self) -> str:
        return msgspec.json.encode((self.type, self.model, sorted(self.settings.items()))).decode()


class Build(msgspec.Struct, frozen=True, tag="build"):
    """Make one slot's program; one that is made `ahead` of any wish is dropped where a newer order waits."""

    ticket: int
    box: BoxSpec
    channels: int
    rate: int
    block: int
    ahead: bool = False
    levels_dbu: tuple[float | None, float | None] = (None, None)  # of the sound card, in and out


class Fuse(msgspec.Struct, frozen=True, tag="fuse"):
    """Make one program of a whole row of slots; a newer Build or Fuse makes it pointless."""

    ticket: int
    boxes: tuple[BoxSpec, ...]
    channels: int
    rate: int
    block: int
    levels_dbu: tuple[float | None, float | None] = (None, None)


class Teach(msgspec.Struct, frozen=True, tag="teach"):
    """Train the SuperKnob on its examples: on from `mapping`, or from nothing. Answered by Taught or Failed."""

    ticket: int
    examples: Examples
    mapping: Mapping | None = None
    seed: int = 0


ToWorkshop = Build | Fuse | Teach | Map


class WorkshopReady(msgspec.Struct, frozen=True, tag="workshop-ready"):
    """The workshop has imported everything and takes orders."""

    pid: int


class Built(msgspec.Struct, frozen=True, tag="built"):
    """One slot: files for the engine (`program`, `arrays`), and what clients want to know."""

    ticket: int
    program: str
    arrays: str
    knobs: tuple[KnobInfo, ...]
    values: tuple[float, ...]  # the defaults in units
    latency: int
    receptive_field: int | None
    parameters: int
    sample_rate: int | None
    seconds: float  # how long it took
    cached: bool
    input_db: float | None = None
    remarks: tuple[str, ...] = ()
    anywhere: bool = True  # the same wherever the knobs stand; if not, it was made for those of the order


class Fused(msgspec.Struct, frozen=True, tag="fused"):
    """A whole row as one program."""

    ticket: int
    program: str
    seconds: float
    cached: bool


class Taught(msgspec.Struct, frozen=True, tag="taught"):
    """A trained SuperKnob. Errors are of positions, 0..1."""

    ticket: int
    mapping: Mapping
    residuals: tuple[float, ...]  # rms over the knobs of each example, in their order
    rmse: float  # over all of them
    steps: int
    seconds: float
    curve: tuple[float, ...] = ()  # the loss on the way, evenly spaced
    remarks: tuple[str, ...] = ()  # in words


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The order cannot be carried out; the text names object, value and remedy."""

    ticket: int
    error: str


FromWorkshop = WorkshopReady | Built | Fused | Taught | Mapped | Failed


# --- Server to scanner, and back -------------------------------------------------------------------------------------


class Watch(msgspec.Struct, frozen=True, tag="watch"):
    """The folders whose model files are to be in the library; look at them now."""

    folders: tuple[str, ...]


ToScanner = Watch


class Scanned(msgspec.Struct, frozen=True, tag="scanned"):
    """The library has changed: of `files` there, `read` were read anew, and `broken` of those do not play."""

    files: int
    read: int
    broken: int


FromScanner = Scanned


# --- Server to engine, and back --------------------------------------------------------------------------------------


class Stream(msgspec.Struct, frozen=True, tag="stream"):
    """Open (or reopen) the audio stream. `device` is a name, a number or "" for the default."""

    backend: str = "auto"  # portaudio, null, or auto: portaudio, and null where that fails
    input_device: str = ""
    output_device: str = ""
    inputs: tuple[int, ...] = (1,)  # channel numbers of the device, from 1; () plays without an input
    outputs: tuple[int, ...] = (1, 2)
    rate: int = 48000
    block: int = 64
    channels: int = 2  # of the rack
    input_level_dbu: float | None = None  # for the workshop: captures are built for the levels of the sound card
    output_level_dbu: float | None = None


class Placed(msgspec.Struct, frozen=True):
    """A slot in the engine: `row` of the shared tables, and the files of its program."""

    row: int
    generation: int  # another generation is another slot in the same row
    program: str
    arrays: str


class Line(msgspec.Struct, frozen=True, tag="line"):
    """Play these slots in this order. Slots that the engine already runs keep their state.

    `fused` is one program for the whole row, or "" to run slot by slot. Answered by Took.
    """

    number: int
    slots: tuple[Placed, ...]
    fused: str = ""


class Source(msgspec.Struct, frozen=True, tag="source"):
    """Where the input comes from: the device's input, or the tape ring that the server fills."""

    tape: bool


class Record(msgspec.Struct, frozen=True, tag="record"):
    """Start or stop putting the output into the record ring."""

    on: bool


class Mute(msgspec.Struct, frozen=True, tag="mute"):
    """Fade the output out, or in again."""

    on: bool


class Quit(msgspec.Struct, frozen=True, tag="quit"):
    """Fade out and end."""


ToEngine = Stream | Line | Source | Record | Mute | Quit


class EngineReady(msgspec.Struct, frozen=True, tag="engine-ready"):
    """The engine has started and waits for a stream."""

    pid: int


class Streaming(msgspec.Struct, frozen=True, tag="streaming"):
    """The stream runs on this backend; `message` says why, where it is not the one asked for."""

    backend: str
    device: str
    rate: int
    block: int
    message: str = ""


class Took(msgspec.Struct, frozen=True, tag="took"):
    """Line `number` plays now, since `at` (`time.monotonic`); rows that it does not name are free."""

    number: int
    at: float = 0.0


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Line `number` could not be loaded; the one before plays on."""

    number: int
    error: str


class Trouble(msgspec.Struct, frozen=True, tag="trouble"):
    """Something went wrong in the callback: `kind` is nonfinite, exception, device or late."""

    kind: str
    text: str
    row: int = -1


FromEngine = EngineReady | Streaming | Took | Refused | Trouble
