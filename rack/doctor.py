"""What this machine can do for the rack: sound devices, the terminal, real time, folders; and what to do about it."""

from __future__ import annotations

import json
import locale
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import msgspec

from . import __version__, paths
from .errors import RackError
from .server.lock import holder

PACKAGES = ("jax", "jaxlib", "flax", "numpy", "textual", "msgspec", "soundfile", "soxr", "sounddevice", "tomlkit")
INSTALL = "apt install libportaudio2 (Debian, Ubuntu) or dnf install portaudio (Fedora)"
NO_PORTAUDIO = f"PortAudio is missing ({INSTALL}); the clocked null output plays until then"
NO_CARD = "no sound card was found; the clocked null output plays: meters, scope and recording work all the same"
ASK = """
import json, sys
try:
    import sounddevice as sd
except OSError:
    sys.exit(3)
found = [{"number": i, **d} for i, d in enumerate(sd.query_devices())]
apis = [api["name"] for api in sd.query_hostapis()]
print(json.dumps({"version": sd.get_portaudio_version()[1], "default": list(sd.default.device), "devices": [
    {"number": d["number"], "name": d["name"], "api": apis[d["hostapi"]], "inputs": d["max_input_channels"],
     "outputs": d["max_output_channels"], "rate": int(d["default_samplerate"])} for d in found]}))
"""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: `level` is ok, note (works, but could be better) or bad."""

    name: str
    level: str
    value: str
    remedy: str = ""


def sound_devices() -> dict:
    """What PortAudio sees, asked in a process of its own, as drivers may hang or crash. Raises RackError."""
    try:
        asked = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        raise RackError("the sound system does not answer; is it running?") from None
    if asked.returncode == 3:
        raise RackError(NO_PORTAUDIO)
    try:
        return json.loads(asked.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        last = (asked.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RackError(f"PortAudio cannot list the devices: {last}") from None


def portaudio_missing() -> bool:
    """Whether the library is not there; quick, as it is looked at on every start. Other systems bring their own."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        ctypes.CDLL("libportaudio.so.2")
    except OSError:
        return True
    return False


def card_missing() -> bool:
    """Whether nothing here looks like sound: no ALSA card, no JACK, PipeWire or PulseAudio of this user."""
    if sys.platform != "linux":
        return False
    try:
        cards = Path("/proc/asound/cards").read_text()
    except OSError:
        cards = ""
    name = os.environ.get("JACK_DEFAULT_SERVER", "default")
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    servers = [runtime / "pipewire-0", runtime / "pulse" / "native", *Path("/dev/shm").glob(f"jack_{name}_*")]
    return ("[" not in cards) and not any(server.exists() for server in servers)


def sound_hint() -> str:
    """The line that a start without sound begins with, or nothing."""
    return NO_PORTAUDIO if portaudio_missing() else NO_CARD if card_missing() else ""


def findings() -> list[Finding]:
    """Everything, in the order in which a person would look."""
    return [*_programs(), *_sound(), *_terminal(), *_real_time(), *_folders()]


def _programs() -> list[Finding]:
    found = [Finding("nafx-rack", "ok", __version__)]
    good = sys.version_info >= (3, 11)
    remedy = "" if good else "install Python 3.11 or newer"
    found.append(Finding("python", "ok" if good else "bad", f"{platform.python_version()} ({sys.executable})", remedy))
    found.append(Finding("system", "ok", f"{platform.system()} {platform.release()} {platform.machine()}"))
    for package in PACKAGES:
        try:
            found.append(Finding(package, "ok", metadata.version(package)))
        except metadata.PackageNotFoundError:
            found.append(Finding(package, "bad", "missing", f"pip install {package}, or make env in a checkout"))
    return found


def _sound() -> list[Finding]:
    try:
        sound = sound_devices()
    except RackError as error:
        return [Finding("sound", "note", str(error), INSTALL if "missing" in str(error) else "")]
    outputs = [device for device in sound["devices"] if device["outputs"]]
    version = Finding("portaudio", "ok", sound["version"])
    if not outputs:
        return [version, Finding("devices", "note", NO_CARD, "plug one in, or start JACK or PipeWire")]
    return [
        version,
        Finding("devices", "ok", f"{len(sound['devices'])}, {len(outputs)} of them play; nafx-rack devices"),
    ]


def _terminal() -> list[Finding]:
    environment = os.environ
    term, colour = environment.get("TERM", ""), environment.get("COLORTERM", "")
    full = colour in ("truecolor", "24bit")
    tier = "none" if "NO_COLOR" in environment or term in ("", "dumb") else "truecolor" if full else ""
    tier = tier or ("256" if "256color" in term else "16")
    remedy = "" if full else "set COLORTERM=truecolor if your terminal can (over SSH: SendEnv COLORTERM), or --color"
    encoding = locale.getpreferredencoding(False)
    unicode = encoding.upper().replace("-", "") == "UTF8"
    size = shutil.get_terminal_size((0, 0))
    found = [
        Finding("colours", "ok" if full else "note", f"{tier} (TERM={term or '?'}, COLORTERM={colour or '?'})", remedy),
        Finding(
            "glyphs", "ok" if unicode else "note", encoding, "" if unicode else "set LANG=C.UTF-8, or --glyphs ascii"
        ),
    ]
    if size.columns and sys.stdout.isatty():
        small = size.columns < 80 or size.lines < 24
        remedy = "80x24 shows everything" if small else ""
        found.append(Finding("size", "note" if small else "ok", f"{size.columns}x{size.lines}", remedy))
    if "SSH_CONNECTION" in environment:
        found.append(Finding("ssh", "ok", "fewer frames a second; Compression yes in ~/.ssh/config helps most"))
    return found


def _real_time() -> list[Finding]:
    found = [Finding("cores", "ok", str(os.cpu_count()))]
    try:
        import resource

        priority = resource.getrlimit(resource.RLIMIT_RTPRIO)[0] if hasattr(resource, "RLIMIT_RTPRIO") else 0
        granted = priority > 0 or os.geteuid() == 0
        remedy = "" if granted else 'add "@audio - rtprio 95" to /etc/security/limits.d/audio.conf and join group audio'
        found.append(Finding("real time", "ok" if granted else "note", f"rtprio limit {priority}", remedy))
    except (ImportError, OSError, ValueError):
        pass
    governors = {p.read_text().strip() for p in Path("/sys/devices/system/cpu").glob("cpu*/cpufreq/scaling_governor")}
    if governors:
        slow = governors & {"powersave"}
        remedy = "cpupower frequency-set -g performance keeps small blocks on time" if slow else ""
        found.append(Finding("cpu governor", "note" if slow else "ok", ", ".join(sorted(governors)), remedy))
    return found


def _folders() -> list[Finding]:
    try:
        folder = paths.runtime_folder()
        pid = holder(paths.lock_path())
        found = [Finding("runtime folder", "ok", str(folder))]
        found.append(Finding("server", "ok", "not running" if pid is None else f"running, process {pid}"))
    except RackError as error:
        found = [Finding("runtime folder", "bad", str(error))]
    found.append(_racks())
    for name, path in (("state", paths.state_folder()), ("recordings", paths.data_folder() / "recordings")):
        there = next(p for p in (path, *path.parents) if p.is_dir())
        free, writable = shutil.disk_usage(there).free, os.access(there, os.W_OK)
        little = free < 200 << 20
        remedy = "make room" if little else "" if writable else f"make {there} writable for you"
        level = "bad" if not writable else "note" if little else "ok"
        found.append(Finding(f"{name} folder", level, f"{path}, {free / 2**30:.1f} GiB free", remedy))
    loop = paths.loop_path()
    found.append(
        Finding("assets", "ok" if loop else "bad", str(paths.assets()), "" if loop else "install nafx-rack again")
    )
    return found


def _racks() -> Finding:
    from .catalogue import catalogue
    from .config import load

    path = paths.racks_path() if paths.racks_path().is_file() else paths.shipped_racks()
    try:
        racks, problems = load(path, catalogue())
    except (RackError, OSError) as error:
        return Finding("racks", "bad", str(error), f"edit {path}")
    if problems:
        return Finding("racks", "note", f"{path}: {problems[0]}", f"{len(problems)} things to put right")
    return Finding("racks", "ok", f"{path}: {', '.join(racks.racks)}")


def doctor(as_json: bool) -> int:
    """Print the findings; 1 where something keeps the rack from working."""
    found = findings()
    bad = any(finding.level == "bad" for finding in found)
    if as_json:
        print(json.dumps({"ok": not bad, "findings": msgspec.to_builtins(found)}, indent=1))
        return int(bad)
    marks = {"ok": "ok  ", "note": "note", "bad": "BAD "}
    for finding in found:
        print(f"{marks[finding.level]}  {finding.name:<15} {finding.value}")
        if finding.remedy:
            print(f"{'':22} -> {finding.remedy}")
    return int(bad)


def devices(as_json: bool) -> int:
    """Print the sound devices by the numbers and names that racks.toml takes."""
    sound = sound_devices()
    if as_json:
        print(json.dumps(sound, indent=1))
        return 0
    if not sound["devices"]:
        print(NO_CARD)
        return 0
    for device in sound["devices"]:
        defaults = [
            what for what, n in zip(("input", "output"), sound["default"], strict=True) if n == device["number"]
        ]
        role = f"  default {' and '.join(defaults)}" if defaults else ""
        channels = f"{device['inputs']} in, {device['outputs']} out"
        print(f"{device['number']:>3}  {device['name']}  ({device['api']}; {channels}; {device['rate']} Hz){role}")
    return 0
