"""The process that owns the rack.

It takes changes from clients, writes them down, keeps engine and workshop alive and tells everybody what happened. It
holds no sound: a change of state is compared with the state before, and what differs is passed on.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from .. import paths, protocol
from ..catalogue import BoxInfo
from ..protocol import AudioView, Built, Failed, FromEngine, FromWorkshop
from ..shared import Shared
from . import children, health, planned, state, world
from .beginning import first_state, problems_of
from .children import Child
from .clients import Clients
from .deck import Deck
from .devices import DeviceWatch
from .driving import super_view
from .hints import Hints, in_words
from .jobs import SWEEPER, TRAINER, Host, Jobs
from .journal import JournalWriter
from .keys import ChangeError, ResetMeters, Save, Stop, change, get
from .librarykeys import MakeAhead, Mark, WatchFolder
from .line import LIMITER_ID, Planner
from .lock import listen
from .maps import Maps
from .meters import Meters
from .performing import Performing
from .shelf import Shelf, models, nearby
from .state import Facts, State, facts_of
from .tape import TapeError

logger = logging.getLogger(__name__)

REST_S = 0.3  # edits that pause so long are worth fusing
SOON_S = 0.1  # and so long, worth a look at what may come next
RETRY_S = 30.0  # a line that the engine refuses is built again at most so often


class Server:
    """One rack, its processes and its clients."""

    def __init__(
        self,
        boxes: dict[str, BoxInfo],
        rack: str = "",
        engine: Sequence[str] = children.ENGINE,
        workshop: Sequence[str] = children.WORKSHOP,
        scanner: Sequence[str] = children.SCANNER,
        trainer: Sequence[str] = TRAINER,
        sweeper: Sequence[str] = SWEEPER,
    ):
        self.shelf = Shelf(scanner, lambda level, text: self.clients.notice(level, text))
        self.world = world.world(boxes, self.shelf)
        self.state, self.problems, notices = first_state(self.world, rack)
        self.audio = AudioView(rate=self.state.audio.rate, block=self.state.audio.block)
        self.shared = Shared()
        self.meters, self.hints = Meters(self.shared), Hints()
        self.clients = Clients(self._view, self._telemetry, self.set, self._get)
        host = Host(lambda: self.state, self.world, self._commit, self._show, self.set, self.clients, self.shared)
        self.jobs = Jobs(host, trainer, sweeper)
        self.engine = Child("engine", engine, FromEngine, self._from_engine, self._engine_died, fds=(self.shared.fd,))
        self.workshop = Child("workshop", workshop, FromWorkshop, self._from_workshop, self._workshop_died, nice=10)
        self.planner = Planner(self.shared.targets, self.workshop.send, self._to_engine, self._at_rest)
        self.maps = Maps(self.clients, self.planner, self.workshop.send, lambda: self.state, self.world)
        self.devices = DeviceWatch(self._device_is_back)
        self.deck = Deck(self.shared, lambda: self.stream, self.engine.send, self.clients.notice, self._recording_lost)
        self.journal = JournalWriter(paths.journal_path(), lambda: self.state, self.clients.notice)
        self.performing = Performing(
            self.world,
            lambda: self.state,
            self._commit,
            self.workshop.send,
            self.clients.notice,
            self.shared,
            self.jobs.superknob,
        )
        self.stream = planned.stream(self.state)  # the one that the engine has been told to play
        self._view_before = self._view()
        self._stop = asyncio.Event()
        self._rest: asyncio.TimerHandle | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._hinted: tuple[str, ...] = ()  # models that a client says may be wanted next
        self._changed_at, self._switch_ms = 0.0, 0.0  # the last change of the row, and how long until it was heard
        self._retried_at = -RETRY_S
        for notice in notices:
            self.clients.notice("warning", notice)

    # --- beginning and end

    async def run(self) -> None:
        """Serve until somebody says stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal that started us may go
        self.deck.open()
        socket = listen(paths.socket_path())
        server = await asyncio.start_unix_server(self.clients.serve, sock=socket)
        try:
            self.deck.play_or_warn(self.state.source)
            self.engine.start()
            self.workshop.start()
            self._plan()
            own = (paths.data_folder() / "models", paths.assets() / "models")
            self.shelf.start([*map(str, own), *self.state.file.library])
            self.jobs.start()
            await self._stop.wait()
        finally:
            logger.info("stopping")
            paths.socket_path().unlink(missing_ok=True)
            server.close()
            await self._end()

    async def _end(self) -> None:
        self.devices.watch(None)
        self.performing.end()
        await self.jobs.stop()
        if self.state.recording:
            await self.deck.end_recording(self.state.recording)
        await asyncio.gather(self.engine.stop(protocol.Quit(), 1.5), self.workshop.stop(), self.shelf.stop())
        self.deck.close()
        await self.journal.end()
        await self.clients.close()

    # --- changes

    async def set(self, key: str, value: Any, gesture: tuple = ()) -> Any:
        """Change one thing and all that follows from it. Raises RackError; then nothing has changed."""
        if key.startswith("jobs."):
            return await self.jobs.set(key, value)
        began = time.monotonic()
        after, effects = change(planned.forgiving(self.state, key), self.world, key, value, gesture)
        if planned.structure(after) != planned.structure(self.state):
            self._changed_at = began
        finished = self._commit(after, key, value)
        for effect in effects:
            match effect:
                case Save(name):
                    await self._save(name)
                case ResetMeters():
                    self.meters.reset()
                case Mark() | WatchFolder():
                    await self.shelf.do(effect)
                case MakeAhead(models):
                    self._hinted = models
                    self._prepare_soon()
                case Stop():
                    asyncio.get_running_loop().call_later(0.02, self._stop.set)  # the answer first
                case _:
                    self.performing.do(effect)
        if finished:
            await finished
        return None

    def _commit(self, after: State, key: str = "", value: Any = None) -> asyncio.Task | None:
        """Make this the state: first what can go wrong, then everything else. Answers what is still going on."""
        before = self.state
        if after.source != before.source:
            try:
                self.deck.play(after.source)
            except TapeError as error:
                raise ChangeError(f"{key} = {value}: {error}") from None
        if after.recording and not before.recording:
            self.deck.record(after.recording)
        self.state = after
        self.shelf.use(models(after) - models(before))
        finishing = self.deck.end_recording(before.recording) if before.recording and not after.recording else None
        if after.mute != before.mute:
            self.engine.send(protocol.Mute(after.mute))
        if after.source != before.source:
            self.engine.send(protocol.Source(after.source.kind != "input"))
        if planned.structure(after) != planned.structure(before):
            self._plan()
        else:
            self._aim(before, after)
        self._show()
        self.maps.look()
        if planned.remembered(after) != planned.remembered(before):
            self.journal.write_soon()
        if after.glides:
            self.performing.glide()
        if after.match:
            self.performing.listen()
        return finishing

    def _to_engine(self, message: protocol.Stream | protocol.Line) -> None:
        """What the planner says; where that opens a stream, the tapes go along."""
        if isinstance(message, protocol.Stream):
            before, self.stream = self.stream, message
            if message.rate != before.rate:
                self.deck.play_or_warn(self.state.source)
            if self.state.recording and (message.rate, message.channels) != (before.rate, before.channels):
                path, self.state = self.state.recording, replace(self.state, recording="")
                self.deck.end_recording(path)  # a file has one rate and one width
        self.engine.send(message)

    def _plan(self) -> None:
        """Bring the engine's row to what the state says."""
        self.planner.plan(planned.wanted(self.state, self.world), planned.stream(self.state))
        self.state = replace(self.state, building=self.planner.building)

    def _aim(self, before: State, after: State) -> None:
        """Pass on turned knobs and bypasses."""
        everything = before.bypass != after.bypass
        if state.trim_db(after) != state.trim_db(before):
            self.planner.aim(planned.MATCH_ID, planned.targets(after, self.world, planned.match_slot(after)))
        for old, new in zip(before.scene.rack.slots, after.scene.rack.slots, strict=True):
            if everything or old is not new:
                self.planner.aim(new.id, planned.targets(after, self.world, new))

    def _at_rest(self) -> None:
        if self._rest:
            self._rest.cancel()
        self._rest = asyncio.get_running_loop().call_later(REST_S, self.planner.fuse)

    # --- what clients see

    def _view(self):
        view = state.view(self.state, self.world, self.audio, self.problems)
        return replace(view, superknob=super_view(self.state, self.world), jobs=self.jobs.view())

    def _show(self) -> None:
        """Tell the clients what is different from what they saw last."""
        before, self._view_before = self._view_before, self._view()
        turns = state.turned(before, self._view_before)
        for key, value in turns or ():
            self.clients.turned(key, value)
        if before.superknob.place != self._view_before.superknob.place:
            self.clients.moved(self._view_before.superknob.place)
        if turns is None or state.still(before) != state.still(self._view_before):
            self.clients.snapshot()

    def _get(self, key: str) -> Any:
        if key == "engine":
            more = {"workshop": self.workshop.pid, "switch_ms": self._switch_ms}
            return health.health(self.shared, self.engine.pid, self.planner.is_fused) | more
        if key == "engine.times":
            return health.times_us(self.shared)
        if key.partition(".")[0] == "jobs":
            return self.jobs.get(key)
        return get(self.state, self.world, self._view(), key)

    def _telemetry(self, scope: bool):
        slots = self._view_before.slots
        rows = [self.planner.row_of(slot.id) for slot in slots]
        telemetry = self.meters.telemetry(
            rows,
            channels=self.state.scene.rack.channels,
            rate=self.audio.rate,
            block=self.audio.block,
            recorded_s=self.deck.recorded_s,
            scope=scope,
        )
        levels = [None if row is None else level for row, level in zip(rows, telemetry.slots_db, strict=True)]
        return replace(telemetry, hints=self.hints.update(slots, levels, max(telemetry.input_db)))

    # --- files

    def _recording_lost(self) -> None:
        self.state = replace(self.state, recording="")
        self._show()

    async def _save(self, name: str) -> None:
        from .. import tomlfile  # tomlkit is slow to import, and few ever save

        racks, path = state.to_save(self.state, name), paths.racks_path()
        template = "" if path.exists() else paths.shipped_racks().read_text() if paths.shipped_racks().is_file() else ""
        await asyncio.to_thread(tomlfile.save, path, racks, self.world.catalogue, template)
        self.problems = problems_of(path, self.world)
        self._commit(state.saved(self.state, racks))
        self.clients.notice("info", f"saved {name} to {path}")

    # --- the children

    def _from_workshop(self, message: Any) -> None:
        match message:
            case protocol.WorkshopReady():
                self.planner.workshop_ready()
                self.performing.workshop_ready()
            case protocol.Fused():
                self.planner.fused(message)
                self._prepare_soon()
            case protocol.Mapped():
                self.maps.mapped(message)
            case Built():
                facts = facts_of(message)
                if self.planner.spec_of(message.ticket) and self._made_ahead(message, facts):
                    return
                self._answered(message.ticket, self.planner.built(message), facts)
            case protocol.Taught():
                self.performing.taught(message)
            case Failed() if not self.performing.failed(message):
                self._failed(message)

    def _made_ahead(self, message: Built | Failed, facts: Facts) -> bool:
        """Keep what the workshop made before anybody wanted it; False where somebody did."""
        box = self.planner.spec_of(message.ticket)
        if box is None or not self.planner.made_ahead(message.ticket, message if isinstance(message, Built) else None):
            return False
        if not facts.error:
            self.state = replace(self.state, facts={**self.state.facts, box.key(): facts})
        self._prepare()
        return True

    def _prepare_soon(self) -> None:
        """Make ahead what may be wanted next, when hands rest for a moment."""
        if self._soon:
            self._soon.cancel()
        self._soon = asyncio.get_running_loop().call_later(SOON_S, self._prepare)

    def _prepare(self) -> None:
        self.maps.look()
        for box in nearby(self.state, self.world, self._hinted):
            if not self.planner.has(box):
                self.planner.ahead(box)
                return

    def _failed(self, message: Failed) -> None:
        if self.maps.failed(message) or self._made_ahead(message, Facts(error=message.error)):
            return
        id = self.planner.failed(message)
        if id is not None:
            name = f"slot {id}" if id != LIMITER_ID else "the limiter at the end, without which nothing plays"
            self.clients.notice("error", f"{name}: {message.error}")
        self._answered(message.ticket, id, Facts(error=message.error))

    def _answered(self, ticket: int, id: str | None, facts: Facts) -> None:
        """What the workshop found out about a slot that is still wanted."""
        box = self.planner.spec_of(ticket)
        if id is not None and box is not None:
            self.state = replace(self.state, facts={**self.state.facts, box.key(): facts})
            self._plan()
            self._show()

    def _from_engine(self, message: Any) -> None:
        match message:
            case protocol.EngineReady():
                self.engine.send(protocol.Mute(self.state.mute))
                self.engine.send(protocol.Source(self.state.source.kind != "input"))
                self.engine.send(protocol.Record(bool(self.state.recording)))
                self.planner.engine_ready()
            case protocol.Streaming():
                self.audio = AudioView(message.backend, message.device, message.rate, message.block, message.message)
                if message.message:
                    self.clients.notice("warning", message.message)
                stands_in = message.backend == "null" and self.stream.backend != "null"
                self.devices.watch(self.stream if stands_in else None)
                self._show()
            case protocol.Took(number, at):
                self.planner.took(number)
                if 0.0 < self._changed_at < at and not self.planner.building:
                    self._switch_ms, self._changed_at = (at - self._changed_at) * 1e3, 0.0
                self._prepare_soon()
            case protocol.Refused(number, error):
                again = time.monotonic() - self._retried_at > RETRY_S
                if self.planner.refused(number, again):
                    self._retried_at = time.monotonic()
                    self.state = replace(self.state, building=self.planner.building)
                else:
                    self.clients.notice("error", f"the engine cannot play this rack: {error}")
                self._show()
            case protocol.Trouble(kind, text, row):
                self.clients.notice(
                    "error" if kind == "exception" else "warning", in_words(kind, text, self.planner.id_of(row))
                )

    def _device_is_back(self) -> None:
        self.clients.notice("info", "the sound device is there; the rack moves to it")
        self.engine.renew(protocol.Quit())

    def _engine_died(self, reason: str) -> None:
        self.planner.engine_gone()
        self.audio = replace(self.audio, backend="starting", message="")
        if reason:
            self.clients.notice("error", f"{reason}; the rack plays on in a moment")
        self._show()

    def _workshop_died(self, reason: str) -> None:
        self.clients.notice("warning", f"{reason}; the sound goes on")
        self.maps.gone()
        self.performing.workshop_gone()
        ticket = self.planner.workshop_gone()
        if ticket is not None:
            self._failed(Failed(ticket, "building this ends the workshop; choose another model or other settings"))
