"""Effects of random substitutions in sequences that should mean nothing, for comparison."""

from kipoi_mcdropout.runs.background.make import background, make_background
from kipoi_mcdropout.runs.background.options import BackgroundOptions

__all__ = ["BackgroundOptions", "background", "make_background"]
