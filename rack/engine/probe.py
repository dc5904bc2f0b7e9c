"""Is the sound device there?

`python -m rack.engine.probe STREAM_JSON` exits with 0 where a stream could be opened, with 2 where it never can be
because PortAudio is missing.

A process of its own: PortAudio lists the devices once, when it starts.
"""

from __future__ import annotations

import sys

import msgspec

from rack.protocol import Stream

from .audio import DeviceError, openable


def main() -> int:
    stream = msgspec.json.decode(sys.argv[1], type=Stream)
    try:
        return 0 if openable(stream) else 1
    except DeviceError:
        return 2


if __name__ == "__main__":
    sys.exit(main())
