"""What holds for all tests."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as a shell has it for what runs in the background; commands under test would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
