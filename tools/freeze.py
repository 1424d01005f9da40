"""Print the constraints file: names and versions of all that tilth and its tests need here."""

import importlib.metadata as metadata
import re

from packaging.requirements import Requirement


def closure(name: str, extras: set[str], found: dict[str, str]) -> None:
    for text in metadata.requires(name) or []:
        requirement = Requirement(text)
        wanted = [{"extra": extra} for extra in extras] or [{"extra": ""}]
        if requirement.marker and not any(requirement.marker.evaluate(e) for e in wanted):
            continue
        key = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if key not in found:
            found[key] = metadata.version(key).split("+")[0]
            closure(key, requirement.extras, found)


found: dict[str, str] = {}
closure("tilth", {"", "dev"}, found)
print("# Versions that the tests passed with; made by tools/freeze.py.")
for name, version in sorted(found.items()):
    print(f"{name}=={version}")
