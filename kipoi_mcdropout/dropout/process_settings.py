"""Settings of torch that are the whole process's, held while any of several threads needs them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager


class WhileUsed:
    """The first of several threads changes a setting, and the last sets it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._held = ExitStack()

    @contextmanager
    def holding(self, setting: AbstractContextManager[object]) -> Iterator[None]:
        """Within it the setting is that of the first user; `setting` changes it and sets it back."""
        with self._lock:
            if self._users == 0:
                self._held.enter_context(setting)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._held.close()
