"""The real sweep, whose trials a trainer makes that learns nothing: `fake_sweeper.py SWEEP.toml`."""

import os
import sys
from pathlib import Path

from trainer import subrun, sweep

os.environ["NAFX_FAKE_TRAINING"] = "a run file of a sweep has no table [fake]"
subrun.TRAINER = (sys.executable, str(Path(__file__).with_name("fake_trainer.py")))

if __name__ == "__main__":
    sys.exit(sweep.main())
