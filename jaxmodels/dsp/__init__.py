"""Signal processing boxes: one file each, every one an `Effect`."""
