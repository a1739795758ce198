"""Places the two files that setup.cfg cannot: the start-up .pth and the manifest.

setuptools has no declarative way to put a file beside the packages (editable installs leave out
`data_files`), nor into a package from outside of it.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

START_UP = Path("kipoi_mcdropout/plugin/kipoi_mcdropout.pth")
MANIFEST = Path("kipoi_plugin.yaml")


class BuildPy(build_py):
    """Puts the start-up file beside the packages, and the manifest into ours."""

    def run(self) -> None:
        """Build the packages, then copy the two files."""
        super().run()
        if self.editable_mode:
            # The wheel in the making; the build folder itself does not end up in an editable wheel.
            wheel_root = Path(self.get_finalized_command("install").install_lib)
            self.copy_file(str(START_UP), str(wheel_root))
        else:
            for source, target in self._extra_files().items():
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Name the files that `run` makes, which setuptools installs and records."""
        extra = [] if self.editable_mode else [str(path) for path in self._extra_files().values()]
        return [*super().get_outputs(include_bytecode), *extra]

    def _extra_files(self) -> dict[Path, Path]:
        root = Path(self.build_lib)
        return {START_UP: root / START_UP.name, MANIFEST: root / "kipoi_mcdropout" / MANIFEST.name}


setup(cmdclass={"build_py": BuildPy})
