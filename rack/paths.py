"""Where things lie: the socket, the user's racks, the journal, the logs, and the files that are shipped."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from .errors import RackError

NAME = "nafx-rack"
LONGEST_SOCKET_PATH = 100  # bytes; the kernel takes 107, macOS 103


class FolderError(RackError):
    """A folder that we need cannot be used; the text says why."""


def _folder(variable: str, default: Path, own: str) -> Path:
    """An XDG folder of ours; all of them lie below NAFX_RACK_HOME where that is set."""
    if home := os.environ.get("NAFX_RACK_HOME"):
        return Path(home).absolute() / own
    named = os.environ.get(variable, "")
    return (Path(named) if os.path.isabs(named) else default) / NAME


def config_folder() -> Path:
    """Where the user's racks.toml lies."""
    return _folder("XDG_CONFIG_HOME", Path.home() / ".config", "config")


def state_folder() -> Path:
    """Journal and logs."""
    return _folder("XDG_STATE_HOME", Path.home() / ".local" / "state", "state")


def data_folder() -> Path:
    """The user's own models (`models`) and recordings (`recordings`)."""
    return _folder("XDG_DATA_HOME", Path.home() / ".local" / "share", "data")


def cache_folder() -> Path:
    """What can be made again: compiled programs."""
    return _folder("XDG_CACHE_HOME", Path.home() / ".cache", "cache")


def runtime_folder() -> Path:
    """The folder of the socket and the lock: ours alone (0700), made where it is missing.

    Raises FolderError if somebody else owns it or could write to it.
    """
    default = Path(tempfile.gettempdir()) / f"{NAME}-{os.getuid()}"
    if "NAFX_RACK_HOME" in os.environ or os.environ.get("XDG_RUNTIME_DIR"):
        folder = _folder("XDG_RUNTIME_DIR", default, "run")
    else:
        folder = default
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise FolderError(f"{folder} belongs to somebody else; set XDG_RUNTIME_DIR to a folder of your own")
        if stat.S_IMODE(found.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise FolderError(f"{folder} cannot be used: {error.strerror or error}; set XDG_RUNTIME_DIR") from None
    if len(os.fsencode(folder / "server.socket")) > LONGEST_SOCKET_PATH:
        raise FolderError(f"{folder} is too long a path for a socket; set XDG_RUNTIME_DIR to a shorter one")
    return folder


def socket_path() -> Path:
    """Where the server listens."""
    return runtime_folder() / "server.socket"


def lock_path() -> Path:
    """Held with flock by the one server of this user; its text is the server's process number."""
    return runtime_folder() / "server.lock"


def library_path() -> Path:
    """The index over the user's model files, with favourites, tags and notes."""
    return data_folder() / "library.sqlite"


def journal_path() -> Path:
    """Where the server writes down every change."""
    return state_folder() / "state.json"


def log_path(who: str) -> Path:
    """The log of `server`, `engine` or `workshop`."""
    return state_folder() / f"{who}.log"


def racks_path() -> Path:
    """The user's own racks.toml; it need not exist."""
    return config_folder() / "racks.toml"


def assets() -> Path:
    """The shipped models, impulse responses and loops: beside the packages in a checkout, inside them in a wheel."""
    package = Path(__file__).resolve().parent
    checkout = package.parent / "assets"
    return checkout if checkout.is_dir() else package / "_assets"


def shipped_racks() -> Path:
    """The racks.toml a user starts with."""
    checkout = Path(__file__).resolve().parent.parent / "racks.toml"
    return checkout if checkout.is_file() else assets() / "racks.toml"


def loop_path() -> Path | None:
    """The built-in loop: the first sound file of `assets/audio`, or None where nothing is shipped."""
    folder = assets() / "audio"
    found = sorted(p for p in folder.glob("*") if p.suffix in (".wav", ".flac")) if folder.is_dir() else []
    named = [p for p in found if "guitar" in p.stem or "loop" in p.stem]
    return (named or found or [None])[0]


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file in one step: whatever happens, the old content or the new is there.

    The file's mode is kept; a new file is its owner's alone. A symbolic link stays one: the file that it names is
    replaced. Raises OSError, and then nothing has changed.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        mode = 0o600
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError:
        pass  # some file systems cannot; the file itself is safe
    finally:
        os.close(folder)
