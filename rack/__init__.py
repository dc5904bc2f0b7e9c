"""The rack: a terminal, a server that owns the sound, and the processes that make it."""

__version__ = "0.1.0"
