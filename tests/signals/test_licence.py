"""Licences: what notices, fields and addresses say; and the packages installed here, by themselves.

Of licences only a few words stand here; their texts are read where packages brought them.
"""

from __future__ import annotations

from importlib import metadata

import pyarrow as pa
import pytest

from tilth.documents.document import Document, to_batch
from tilth.signals.licence import Licence, Said, copyleft, licence_of
from tilth.signals.licence_table import ADDRESSES, COPYLEFT, NAMED, SHORT, TEXTS
from tilth.testing.signals import check_signal

GNU = "modify it under the terms of the GNU {}General Public License as published by its authors, "

SAID = [
    ("// SPDX-License-Identifier: (mit OR Apache-2.0)", "MIT OR Apache-2.0", "identifier"),
    ("<!-- SPDX-License-Identifier: MIT -->", "MIT", "identifier"),
    ("/* SPDX-License-Identifier: GPL-2.0-or-later */\ncode", "GPL-2.0-or-later", "identifier"),
    ("# SPDX-License-Identifier: LicenseRef-Ours\n", "LicenseRef-Ours", "identifier"),
    ("Name: x\nLicense: MIT License\n", "MIT", "metadata"),
    ("License: GPLv3+", "GPL-3.0-or-later", "metadata"),
    ("Licence: LGPL v2.1", "LGPL-2.1-only", "metadata"),
    ("License: Apache License, Version 2.0", "Apache-2.0", "metadata"),
    ("Classifier: License :: OSI Approved :: ISC License (ISCL)", "ISC", "metadata"),
    ("This is licensed under the Apache License,\n# Version 2.0 (the one)", "Apache-2.0", "text"),
    (GNU.format("") + "version 3, or (at your option) any later version", "GPL-3.0-or-later",
     "text"),
    (GNU.format("Lesser ") + "version 2.1 only.", "LGPL-2.1-only", "text"),
    (GNU.format("Affero ") + "version 3.", "AGPL-3.0-only", "text"),
    (GNU.format("") + "in any of them", "GPL-1.0-or-later", "text"),
    ("Text is available under the Creative Commons Attribution-ShareAlike 3.0 License",
     "CC-BY-SA-3.0", "text"),
    ("Except where noted, licensed under CC BY-NC 4.0.", "CC-BY-NC-4.0", "text"),
    ("used under a Creative Commons Attribution licence", "LicenseRef-CC-BY", "text"),
    ("The author has released this work into the public domain.", "LicenseRef-Public-Domain",
     "text"),
    ("It is distributed under the MIT licence.", "MIT", "text"),
    ("see https://creativecommons.org/licenses/by-nc-nd/3.0/us/", "CC-BY-NC-ND-3.0", "url"),
    ("<a href='//creativecommons.org/publicdomain/zero/1.0/'>", "CC0-1.0", "url"),
    ("https://opensource.org/licenses/mit", "MIT", "url"),
    ("http://www.gnu.org/licenses/gpl-3.0.html", "GPL-3.0-only", "url"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "licence", "evidence"), SAID)
def test_what_a_document_says(text: str, licence: str, evidence: str) -> None:
    assert licence_of(text) == Said(licence, evidence)
    # The same far down, in a comment, and with other white space.
    if evidence in ("text", "url"):
        far = "word " * 3000 + "\n * " + text.replace(" ", "\n * ") + " word" * 3000
        assert licence_of(far) == Said(licence, evidence)


@pytest.mark.parametrize(
    "text",
    [
        "", "Your driving licence was issued.", "I wrote about the MIT License yesterday.",
        "The GNU General Public License is famous.", "All rights reserved. No licence.",
        "The beach is public domain.", "License: BSD", "License: see the file", "poetic licence",
        "He asked for permission to use the telephone.", "license:\n", "https://opensource.org/",
    ],
)  # fmt: skip
def test_what_says_nothing(text: str) -> None:
    assert licence_of(text) is None


def test_fields_of_the_metadata_count_after_identifiers() -> None:
    fields = '{"license": "cc-by-sa-4.0"}'
    assert licence_of("", fields) == Said("CC-BY-SA-4.0", "metadata")
    assert licence_of("SPDX-License-Identifier: MIT", fields) == Said("MIT", "identifier")
    by_address = '{"rights": "https://creativecommons.org/licenses/by/4.0/"}'
    assert licence_of("", by_address) == Said("CC-BY-4.0", "metadata")
    assert licence_of("", '{"license": 3, "rights": "mine"}') is None
    assert licence_of("", "[]") is None


def test_copyleft_of_expressions() -> None:
    assert copyleft("MIT") is False and copyleft("GPL-3.0-only") is True
    assert copyleft("MIT OR GPL-3.0-only") is False
    assert copyleft("MIT AND GPL-3.0-only") is True
    assert copyleft("(MIT OR GPL-2.0-only) AND Apache-2.0 WITH LLVM-exception") is False
    assert copyleft("(MIT OR GPL-2.0-only) AND CC-BY-SA-4.0") is True
    assert copyleft("") is None
    assert copyleft("LicenseRef-Ours") is None
    assert copyleft("LicenseRef-Ours AND GPL-2.0-only") is True
    assert copyleft("LicenseRef-Ours OR MIT") is False


def test_tables_name_known_licences() -> None:
    plain = {name for table in (TEXTS, NAMED, ADDRESSES) for name, _ in table if "{" not in name}
    assert (plain | set(SHORT.values())) - {"MIT-0"} <= set(COPYLEFT)


def test_signal() -> None:
    documents = [
        Document(id=f"{n:032x}", text=text, metadata={"license": "ISC"} if not text else {})
        for n, (text, _, _) in enumerate([*SAID, ("", "", "")])
    ]
    rows = Licence().measure(to_batch(documents)).to_pylist()
    assert [(row["licence"], row["licence_evidence"]) for row in rows[:-1]] == [
        (licence, evidence) for _, licence, evidence in SAID
    ]
    assert rows[-1] == {"licence": "ISC", "licence_evidence": "metadata", "copyleft": False}
    check_signal(Licence())
    nothing = pa.RecordBatch.from_pylist(
        [{"text": None, "metadata": None}],
        pa.schema([("text", pa.large_string()), ("metadata", pa.string())]),
    )
    assert Licence().measure(nothing).to_pylist()[0]["licence"] is None


def test_licences_that_installed_packages_brought() -> None:
    """The file of a package's licence says what its own metadata say by an identifier."""
    right, wrong, unknown = 0, [], []
    for package in metadata.distributions():
        stated = package.metadata.get("License-Expression", "")
        files = [
            file for file in package.files or []
            if file.name.lower().split(".")[0] in ("license", "licence", "copying")
            and ".dist-info" in str(file)
        ]  # fmt: skip
        if stated not in COPYLEFT or len(files) != 1 or not files[0].locate().is_file():
            continue
        found = licence_of(files[0].locate().read_text("utf-8", "replace"))
        if found is None:
            unknown.append(package.name)
        elif found.licence == stated:
            right += 1
        else:
            wrong.append((package.name, stated, found.licence))
    total = right + len(wrong) + len(unknown)
    print(f"\n{right} of {total} packages, not recognised {unknown}, wrong {wrong}")
    if total < 20:
        pytest.skip("fewer than 20 packages with one licence file and an identifier")
    assert right >= 0.9 * total and len(wrong) <= 0.05 * total
