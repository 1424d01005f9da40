"""The Python installation as documents: what every machine has, offline.

The standard library without its tests, then the packages that tilth needs, in alphabetical order,
whole as long as they fit into `limit`; of the rest a share of files by digest, up to a tenth of
`limit` more. A document is a module, the docstring of a public object, a README or other text, a
package's metadata, a licence. It depends on the versions installed, so `manifest` names them.
"""

from __future__ import annotations

import os
import platform
import re
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from tilth.documents.document import Problem
from tilth.documents.inputs import Unit
from tilth.errors import DataError
from tilth.store.digest import digest, digest_value, sha256_file
from tilth.types import Progress, silent

LIMIT = 40_000_000
# Of the standard library: its tests, and what is not part of it.
NOT_STANDARD = frozenset(
    "test tests idle_test site-packages dist-packages __pycache__ lib-dynload".split()
)
_FORMATS = {".py": "python", ".md": "markdown", ".rst": "rst", ".txt": "text"}
_TEXTS = re.compile(r"(readme|licen[cs]e|copying|notice|authors|copyright)", re.IGNORECASE)
_ANY_TEXT = re.compile(r"(readme|licen[cs]e|copying|notice|authors|copyright)[^.]*", re.IGNORECASE)


def plan_installation(
    limit: int = LIMIT, *, progress: Progress = silent
) -> tuple[list[Unit], list[Problem], dict[str, Any]]:
    """(units by source, problems, manifest). Raises DataError where tilth is not installed.

    The manifest is {"python", "packages": {name: version}, "bytes", "files": [{"source", "bytes",
    "sha256"}], "digest"}: the digest is that of the files.
    """
    return [], [], {}
