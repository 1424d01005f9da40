"""Builds the small mixed folder: build_program.py DOCUMENTS OUT [MOMENT PATTERN].

With a moment and a pattern the process is killed at the first write of a file whose path holds the
pattern, at that moment; with the moment `number`, at the moment of that number counted from 0.
"""

import os
import signal
import sys
from pathlib import Path

from tilth.build.plan import Plan
from tilth.build.run import build
from tilth.store import write
from tilth.testing.mixed import SMALL_PLAN

documents, out, *strike = sys.argv[1:]
if strike:
    moment, pattern = strike
    seen = 0

    def fault(now: str, path: Path) -> None:
        global seen
        numbered = moment == "number" and seen == int(pattern)
        seen += 1
        if numbered or (now == moment and pattern in path.as_posix()):
            os.kill(os.getpid(), signal.SIGKILL)

    write.fault = fault
build(documents, out, plan=Plan().with_settings(SMALL_PLAN), workers=1)
