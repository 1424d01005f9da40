"""Runs at scale smoke, each made once for all tests that look at it."""

import pytest


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """`smoke(slug)`: a system's result at scale smoke. Tests may not change it."""
    made = {}

    def result(slug):
        if slug not in made:
            from tilth.evaluation.runner import run_system
            from tilth.systems import load_system

            folder = tmp_path_factory.mktemp("smoke")
            with pytest.MonkeyPatch.context() as patch:
                # Nothing may be read from where named data lie, nor written where the user stands.
                patch.chdir(folder)
                patch.setenv("TILTH_DATA", str(folder))
                made[slug] = run_system(load_system(slug), scale="smoke")
            assert list(folder.iterdir()) == []
        return made[slug]

    return result
