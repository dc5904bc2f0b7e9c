"""The process that owns the rack: state, undo, presets, journal; it starts and watches the others."""
