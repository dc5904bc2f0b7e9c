"""From recordings to effects: `python -m trainer run.toml`."""
