"""What a process has used so far."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


def peak_memory() -> int:
    """The most memory (bytes, resident) that this process has held since it began.

    On Linux not `ru_maxrss`: a process begins with that of whoever started it (`man 2 getrusage` names the peak of the
    process, but the kernel carries it over `exec`), so a small job below a large parent would report the parent's.
    """
    if _STATUS.exists() and (found := _PEAK.search(_STATUS.read_text(encoding="ascii", errors="replace"))):
        return int(found[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
