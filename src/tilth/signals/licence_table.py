"""What tells one licence from another: names, a few words of each, addresses. Only tables.

Names are SPDX's short identifiers. Phrases are in lower case with single blanks and no marks, the
way `licence.plain` writes a text. A licence is recognised by all phrases of one of its lines; of
several the first line that fits counts, so the special ones stand before the general ones.
"""

from __future__ import annotations

# Does a changed work have to keep the licence, in whole or in part?
COPYLEFT = {
    **dict.fromkeys(
        "0BSD Apache-1.1 Apache-2.0 BSD-1-Clause BSD-2-Clause BSD-3-Clause BSD-4-Clause BSL-1.0 "
        "CC0-1.0 CC-PDM-1.0 ISC LicenseRef-Public-Domain MIT MIT-0 NCSA OFL-1.1 PostgreSQL "
        "PSF-2.0 Python-2.0 Unicode-3.0 Unlicense W3C WTFPL X11 Zlib ZPL-2.1 HPND MS-PL "
        "Artistic-1.0 Artistic-2.0 CNRI-Python MIT-CMU ODC-By-1.0 PDDL-1.0".split(),
        False,
    ),
    **dict.fromkeys(
        "MPL-1.0 MPL-1.1 MPL-2.0 EPL-1.0 EPL-2.0 CDDL-1.0 CDDL-1.1 EUPL-1.1 EUPL-1.2 ODbL-1.0 "
        "OSL-3.0 MS-RL CPL-1.0 CECILL-2.1".split(),
        True,
    ),
    **{
        f"{family}-{version}{suffix}": True
        for family, versions in (
            ("GPL", "1.0 2.0 3.0"), ("LGPL", "2.0 2.1 3.0"), ("AGPL", "1.0 3.0"),
            ("GFDL", "1.1 1.2 1.3"),
        )
        for version in versions.split()
        for suffix in ("", "-only", "-or-later", "+")
    },
    **{
        f"CC-{kind}-{version}": kind.endswith("SA")
        for kind in ("BY", "BY-SA", "BY-NC", "BY-ND", "BY-NC-SA", "BY-NC-ND")
        for version in ("1.0", "2.0", "2.5", "3.0", "4.0")
    },
    **{
        f"LicenseRef-CC-{kind}": kind.endswith("SA")
        for kind in ("BY", "BY-SA", "BY-NC", "BY-ND", "BY-NC-SA", "BY-NC-ND")
    },
}  # fmt: skip
PUBLIC_DOMAIN = "LicenseRef-Public-Domain"

_BSD = "redistribution and use in source and binary forms"
_ISC = "permission to use copy modify and"
TEXTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Unlicense", ("this is free and unencumbered software",)),
    ("BSD-4-Clause", (_BSD, "advertising materials mentioning features")),
    ("BSD-3-Clause", (_BSD, "endorse or promote products derived")),
    ("BSD-2-Clause", (_BSD, "must reproduce the above copyright")),
    ("BSD-1-Clause", (_BSD, "must retain the above copyright")),
    ("MIT", ("permission is hereby granted free of charge to any person", "shall be included in")),
    ("MIT-0", ("permission is hereby granted free of charge to any person",)),
    ("ISC", (_ISC, "for any purpose with or without fee", "permission notice appear in all")),
    ("0BSD", (_ISC, "for any purpose with or without fee")),
    ("Zlib", ("altered source versions must be plainly marked",)),
    ("BSL-1.0", ("boost software license version 1 0",)),
    ("PSF-2.0", ("python software foundation license version 2",)),
    ("OFL-1.1", ("sil open font license version 1 1",)),
    ("WTFPL", ("do what the fuck you want to",)),
    ("CC0-1.0", ("cc0 1 0 universal",)),
    ("CC0-1.0", ("creative commons zero",)),
    ("PostgreSQL", ("released under the postgresql license",)),
)
# Names in running text count where a grant stands before them ("licensed under the ..."), or a
# licence's own title does.
NAMED: tuple[tuple[str, str], ...] = (
    ("Apache-2.0", r"apache (?:software )?licen[sc]e(?: asl)?(?: version| v)? ?2(?: 0)?"),
    ("Apache-2.0", r"apache 2(?: 0)? licen[sc]e"),
    ("MPL-{}", r"mozilla public licen[sc]e(?: mpl)?(?: version| v)? ?(1 1|1 0|2 0)"),
    ("EPL-{}", r"eclipse public licen[sc]e(?: version| v)? ?(1 0|2 0)"),
    ("EUPL-{}", r"european union public licen[sc]e(?: eupl)?(?: version| v)? ?(1 1|1 2)"),
    ("ODbL-1.0", r"open database licen[sc]e"),
    ("Artistic-2.0", r"artistic licen[sc]e(?: version| v)? ?2 0"),
    ("BSD-3-Clause", r"(?:3 clause bsd|bsd 3 clause|modified bsd|new bsd) licen[sc]e"),
    ("BSD-2-Clause", r"(?:2 clause bsd|bsd 2 clause|simplified bsd) licen[sc]e"),
    ("MIT", r"mit licen[sc]e"),
    ("MIT", r"expat licen[sc]e"),
    ("ISC", r"isc licen[sc]e"),
    ("Zlib", r"zlib(?: libpng)? licen[sc]e"),
    ("PSF-2.0", r"(?:psf|python software foundation) licen[sc]e"),
    ("Unlicense", r"the unlicense"),
    ("CC0-1.0", r"cc0"),
)
PUBLIC_DOMAIN_WORDS = (
    r"(?:released|dedicated|placed|put|donated)(?: \w+){0,3} (?:in|to|into) the public domain"
    r"|\b(?:this|the) (?:\w+ )?(?:work|file|software|text|code|program|module|book|image|document)"
    r" is (?:hereby )?(?:in )?(?:the )?public domain"
)
GRANT = (
    r"(?:licen[sc]ed|released|distributed|published|available|covered|redistribute\w*|used|use|"
    r"made available|provided|shared|governed|subject|terms of|modify it|permission|"
    r"licen[sc]es? is)"
)
TITLES = r"|".join(
    (
        r"^the mit licen[sc]e", r"^mit licen[sc]e", r"apache license version 2 0 january 2004",
        r"^isc licen[sc]e", r"^(?:the )?zlib licen[sc]e", r"^mozilla public license version",
    )
)  # fmt: skip

# Addresses, without "www." and the protocol; {} is what the group holds.
ADDRESSES: tuple[tuple[str, str], ...] = (
    ("CC0-1.0", r"creativecommons\.org/publicdomain/zero/"),
    ("CC-PDM-1.0", r"creativecommons\.org/publicdomain/mark/"),
    ("CC-{}", r"creativecommons\.org/licen[sc]es/((?:by|by-sa|by-nc|by-nd|by-nc-sa|by-nc-nd)/"
              r"[1-4]\.[05])"),
    ("Apache-2.0", r"apache\.org/licen[sc]es/licen[sc]e-2\.0"),
    ("{}", r"(?:opensource\.org/licen[sc]es?|spdx\.org/licen[sc]es)/([A-Za-z0-9.+-]*[A-Za-z0-9+])"),
    ("MPL-2.0", r"mozilla\.org/(?:[a-z-]+/)?mpl/2\.0"),
    ("GPL-{}-only", r"gnu\.org/licen[sc]es/(?:old-licenses/)?gpl-([123]\.0)"),
    ("LGPL-{}-only", r"gnu\.org/licen[sc]es/(?:old-licenses/)?lgpl-(2\.[01]|3\.0)"),
    ("AGPL-{}-only", r"gnu\.org/licen[sc]es/agpl-(3\.0)"),
    ("Unlicense", r"unlicense\.org"),
)  # fmt: skip

# Short names that people write into a field `License`, in lower case without marks.
SHORT = {
    "mit": "MIT", "the mit": "MIT", "expat": "MIT", "mit x11": "MIT", "isc": "ISC", "iscl": "ISC",
    "zlib": "Zlib", "apache": "Apache-2.0", "apache 2": "Apache-2.0", "apache 2 0": "Apache-2.0",
    "apache software": "Apache-2.0", "asl 2 0": "Apache-2.0", "bsd 2 clause": "BSD-2-Clause",
    "bsd 3 clause": "BSD-3-Clause", "3 clause bsd": "BSD-3-Clause", "new bsd": "BSD-3-Clause",
    "modified bsd": "BSD-3-Clause", "simplified bsd": "BSD-2-Clause",
    "2 clause bsd": "BSD-2-Clause",
    "psf": "PSF-2.0", "psfl": "PSF-2.0", "python software foundation": "PSF-2.0",
    "unlicense": "Unlicense", "the unlicense": "Unlicense", "cc0": "CC0-1.0",
    "cc0 1 0": "CC0-1.0", "public domain": PUBLIC_DOMAIN, "mpl 2 0": "MPL-2.0", "mpl2": "MPL-2.0",
    "mozilla public": "MPL-2.0", "mozilla public 2 0 mpl 2 0": "MPL-2.0", "wtfpl": "WTFPL",
    "zpl 2 1": "ZPL-2.1", "boost": "BSL-1.0", "0bsd": "0BSD", "postgresql": "PostgreSQL",
}  # fmt: skip
