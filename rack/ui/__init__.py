"""The terminal: a disposable client that draws the rack and sends changes."""
