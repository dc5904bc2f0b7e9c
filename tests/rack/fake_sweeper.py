"""The real sweep, whose trials a trainer makes that learns nothing: `fake_sweeper.py SWEEP.toml`."""

import sys
from pathlib import Path

from trainer import subrun, sweep

subrun.TRAINER = (sys.executable, str(Path(__file__).with_name("fake_trainer.py")))

if __name__ == "__main__":
    sys.exit(sweep.main())
