"""The main job: a plan, its steps, and the run folder that explains itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tilth.build.run import Run, build

__all__ = ["Run", "build"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: the command line reads plans without opening a run.
    if name in __all__:
        from tilth.build import run

        return getattr(run, name)
    raise AttributeError(f"module 'tilth.build' has no attribute {name!r}")
