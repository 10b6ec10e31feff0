"""Sets the clock of every Python process below a soak back by an hour, once a file is there.

The machine's own clock stays as it is; what is not Python does not notice. So gRPC, which hands
points in time from Python to C, keeps the real one: a machine whose clock goes back has one clock.
"""

import os
import sys
import time

_MARKER = os.environ.get("SOAK_CLOCK_MARKER")
_SECONDS = 3600

if _MARKER:
    _time, _time_ns = time.time, time.time_ns

    def _back() -> int:
        if str(sys._getframe(2).f_globals.get("__name__")).partition(".")[0] == "grpc":
            return 0
        return _SECONDS if os.path.exists(_MARKER) else 0  # noqa: PTH110  no import at every start

    time.time = lambda: _time() - _back()
    time.time_ns = lambda: _time_ns() - _back() * 10**9
