"""What pyproject.toml cannot say: the sounds and the racks that lie at the top of the checkout go into the wheel.

They become `rack/_assets`. An editable install copies nothing: the package then finds the checkout's own folder.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FOLDERS = ("audio", "irs", "models")  # of assets/; the pictures and the scripts that made it all stay behind


class BuildWithAssets(build_py):
    """Copies what is shipped beside the code, after the code."""

    def run(self):
        super().run()
        if not self.editable_mode:
            shutil.rmtree(self._folder, ignore_errors=True)  # an older build must not leave files behind
            for source, target in self._shipped():
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))

    def get_outputs(self, include_bytecode=True):
        copied = [] if self.editable_mode else [str(target) for _, target in self._shipped()]
        return super().get_outputs(include_bytecode) + copied

    @property
    def _folder(self) -> Path:
        return Path(self.build_lib) / "rack" / "_assets"

    def _shipped(self):
        """Pairs of a file in the checkout and its place in the wheel."""
        assets = Path("assets")
        yield Path("racks.toml"), self._folder / "racks.toml"
        yield assets / "SOURCES.md", self._folder / "SOURCES.md"
        for folder in FOLDERS:
            for file in sorted((assets / folder).rglob("*")):
                if file.is_file() and not file.name.startswith("."):
                    yield file, self._folder / file.relative_to(assets)


setup(cmdclass={"build_py": BuildWithAssets})
