"""SIGTERM and Ctrl-C ask a run to finish its step, write a checkpoint and leave; a second one ends it at once.

A run that was started with SIGINT ignored keeps ignoring it: a shell starts the background jobs of a script that way,
since Ctrl-C is not meant for them. SIGTERM stops such a run.
"""

import signal
import threading


class StopRequest:
    """Context manager; `requested` turns true at the first SIGTERM or SIGINT received inside it."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self):
        self.requested = False
        self._before = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # Python lets only this thread set handlers
            numbers = self.SIGNALS if signal.getsignal(signal.SIGINT) != signal.SIG_IGN else (signal.SIGTERM,)
            self._before = {number: signal.signal(number, self._on_signal) for number in numbers}
        return self

    def _on_signal(self, number, frame):
        self.requested = True
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __exit__(self, *exception) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
