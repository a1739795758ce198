"""The error of a model that the incremental engine cannot run."""

from __future__ import annotations

from kipoi_mcdropout.errors import ModelError


class CaptureError(ModelError):
    """The model cannot be turned into a graph; it runs as it is instead."""

    what = ""  # without advice, where there is some

    @classmethod
    def with_advice(cls, error: CaptureError) -> CaptureError:
        """The same for one who has asked for the incremental engine."""
        raised = cls(
            f"the engine 'incremental' cannot run this model: {error}. Use the engine 'full' or 'auto' "
            "(--engine), which gives the same numbers"
        )
        raised.what = error.what or str(error)
        return raised
