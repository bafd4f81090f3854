"""Stamps commit and dirty flag into what is built; everything else about the package is in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # a build front end does not put the source folder there

from models.lineage import build, write_stamp  # noqa: E402

BUILD = build(ROOT)  # before building leaves files of its own in the tree


class StampedBuild(build_py):
    """The packages with a stamp. An editable install has none: it is the checkout, and git knows its commit."""

    def run(self) -> None:
        """Copy the packages, then stamp the copy."""
        super().run()
        if not self.editable_mode:
            write_stamp(Path(self.build_lib), BUILD)


class StampedSource(sdist):
    """The source archive with a stamp, for the wheel that is built from it where there is no git."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Copy the sources, then stamp the copy."""
        super().make_release_tree(base_dir, files)
        write_stamp(Path(base_dir), BUILD)


setup(cmdclass={"build_py": StampedBuild, "sdist": StampedSource})
