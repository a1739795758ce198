"""Registration with stock Kipoi, whose plugin and command tables are hard-coded.

An installed package is registered by the start-up file `kipoi_mcdropout.pth` of this folder, which
arms an import hook; from a plain checkout, `register()` does the same. `kipoi_plugin.yaml` says
what is registered. The hook runs a registration, which reads the manifest and sets the commands.
"""

from __future__ import annotations

from kipoi_mcdropout.plugin.hook import register

__all__ = ["register"]
