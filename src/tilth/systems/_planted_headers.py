"""Headers and footers in the manner of Project Gutenberg, planted around texts of known truth.

Four eras, and a share of texts without any. The lines that a reader would know a Project Gutenberg
file by (banners, markers, catalogue fields, credits) follow the practice of the time; the prose
between them is our own filler of the length that such notices have. Written before any result was
seen, and without the list of phrases that is measured with it.
"""

from __future__ import annotations

import random
import textwrap
from collections.abc import Callable, Sequence

NAMES = (
    "Ada Fielding", "Charles Okoro", "M. Lindqvist", "Jos\u00e9 Mart\u00ednez", "Beth Trask",
    "Sue Aldous", "W. H. Porter", "Anne Soul\u00e9", "David Reed", "Ik Mbeki",
)  # fmt: skip
PLACES = ("Urbana, Illinois", "Bath, England", "Oakland, Calif.", "Brisbane", "Toronto")

# Sentences that notices of this kind consist of, in our own words.
SENTENCES = (
    "Nobody has to pay anything to read, keep or pass on this file.",
    "The volunteers who typed it in have checked it, but errors will be left.",
    "If you find one, please write to the address below and name the line.",
    "We give no promise of any kind that the file is fit for what you want to do with it.",
    "You agree to hold the makers of this file free from all costs that may come of its use.",
    "A copy may be charged for only as far as the medium and the work of copying cost something.",
    "Works that are free in one country may not be free in yours, so look at your own law first.",
    "Gifts keep the machines running and are used for nothing else.",
    "The name of the library is a trade mark and may not stand on changed copies.",
    "Within thirty days you may send the file back and get your money back.",
    "New titles are put out every month, usually long before the date that they carry.",
    "A list of all titles can be had by mail or by file transfer from any of the mirrors.",
    "This notice has to stay with every copy, or the copy has to be free of the name.",
    "Some states do not allow such limits, and then they do not hold for you.",
    "Please do not remove this. It tells you what you may do with what follows.",
)


def notice(rng: random.Random, sentences: int, width: int) -> list[str]:
    """Filler in paragraphs of a few sentences, wrapped as plain text of the time."""
    lines: list[str] = []
    while sentences > 0:
        taken = min(sentences, rng.randint(1, 4))
        lines += textwrap.wrap(" ".join(rng.choices(SENTENCES, k=taken)), width)
        lines.append("")
        sentences -= taken
    return lines


def first_years(rng: random.Random, title: str, author: str) -> tuple[list[str], list[str]]:
    """About 1991 to 1999: an Etext, its small print on top, no starred start marker."""
    file = f"{title.lower()[:5].replace(' ', '')}10"
    number, year = rng.randint(20, 1900), rng.randint(1991, 1999)
    header = [
        f"***The Project Gutenberg Etext of {title}, by {author}***",
        *([f"#{rng.randint(2, 9)} in our series by {author}"] if rng.random() < 0.5 else []),
        "",
        "Copyright laws are changing all over the world, be sure to check",
        "the laws for your country before redistributing these files!!!",
        "",
        *notice(rng, rng.randint(2, 5), 66),
        "**Welcome To The World of Free Plain Vanilla Electronic Texts**",
        "",
        "**Etexts Readable By Both Humans and By Computers, Since 1971**",
        "",
        "*These Etexts Prepared By Hundreds of Volunteers and Donations*",
        "",
        *notice(rng, rng.randint(2, 6), 66),
        f"{title}",
        "",
        f"by {author}",
        "",
        f"{rng.choice(['March', 'June', 'October'])}, {year}  [Etext #{number}]",
        "",
        f"The Project Gutenberg Etext of {title}, by {author}",
        f"*****This file should be named {file}.txt or {file}.zip*****",
        "",
        f"Corrected EDITIONS of our etexts get a new NUMBER, {file[:-2]}11.txt.",
        f"VERSIONS based on separate sources get new LETTER, {file}a.txt.",
        "",
        *notice(rng, rng.randint(8, 20), 66),
        "***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***",
        *notice(rng, rng.randint(20, 45), 68),
        "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
        "",
        "",
    ]
    credit = [
        f"This etext was prepared by {rng.choice(NAMES)}, {rng.choice(PLACES)}.",
        f"Scanned by {rng.choice(NAMES)}, proofed by {rng.choice(NAMES)}.",
        f"Typed for the library by {rng.choice(NAMES)} from the edition of 1897.",
    ]
    header += [rng.choice(credit), "", ""] if rng.random() < 0.7 else []
    footer = ["", "", rng.choice([
        f"End of The Project Gutenberg Etext of {title}, by {author}",
        f"End of this Project Gutenberg Etext of {title}",
        f"The end of the Project Gutenberg Etext of {title}",
    ])]  # fmt: skip
    return header, footer


def around_2002(rng: random.Random, title: str, author: str) -> tuple[list[str], list[str]]:
    """About 2000 to 2003: an EBook, a starred marker with the title, the small print below."""
    number = rng.randint(2000, 9999)
    header = [
        f"The Project Gutenberg EBook of {title}, by {author}",
        "",
        "Copyright laws are changing all over the world. Be sure to check the",
        "copyright laws for your country before downloading or redistributing",
        "this or any other Project Gutenberg eBook.",
        "",
        "This header should be the first thing seen when viewing this Project",
        "Gutenberg file.  Please do not remove it.",
        "",
        *notice(rng, rng.randint(2, 5), 68),
        "**Welcome To The World of Free Plain Vanilla Electronic Texts**",
        "",
        "**eBooks Readable By Both Humans and By Computers, Since 1971**",
        "",
        "*****These eBooks Were Prepared By Thousands of Volunteers!*****",
        "",
        "",
        f"Title: {title}",
        "",
        f"Author: {author}",
        "",
        f"Release Date: {rng.choice(['May', 'July'])}, {rng.randint(2003, 2006)} [EBook #{number}]",
        f"[This file was first posted on {rng.choice(['April 3', 'June 17'])}, 2003]",
        "",
        "Edition: 10",
        "",
        "Language: English",
        "",
        f"Character set encoding: {rng.choice(['ASCII', 'ISO-8859-1'])}",
        "",
        f"*** START OF THE PROJECT GUTENBERG EBOOK, {title.upper()} ***",
        "",
        "",
        "",
        *rng.choice([
            [f"{rng.choice(NAMES)}, {rng.choice(NAMES)} and the Online",
             "Distributed Proofreading Team."],
            [f"This eBook was produced by {rng.choice(NAMES)}."],
            [f"Produced by {rng.choice(NAMES)} and {rng.choice(NAMES)}"],
            [],
        ]),
        "",
        "",
    ]  # fmt: skip
    footer = [
        "",
        "",
        f"*** END OF THE PROJECT GUTENBERG EBOOK, {title.upper()} ***",
        "",
        f"This file should be named {number}10.txt or {number}10.zip",
        f"Corrected EDITIONS of our eBooks get a new NUMBER, {number}11.txt",
        "",
        *notice(rng, rng.randint(15, 40), 70),
        "***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN EBOOKS**START***",
        *notice(rng, rng.randint(20, 40), 70),
        "*END THE SMALL PRINT! FOR PUBLIC DOMAIN EBOOKS*Ver.02/11/02*END*",
    ]
    return header, footer


def proofreaders(rng: random.Random, title: str, author: str) -> tuple[list[str], list[str]]:
    """About 2004 to 2020: "THIS PROJECT GUTENBERG EBOOK", credits below it, the full licence."""
    number = rng.randint(10_000, 60_000)
    mark = "\ufeff" if rng.random() < 0.2 else ""
    banner = rng.choice(["The Project Gutenberg EBook of", "Project Gutenberg's"])
    rule = "START OF THIS" if rng.random() < 0.8 else "START OF THE"
    header = [
        f"{mark}{banner} {title}, by {author}",
        "",
        "This eBook is for the use of anyone anywhere at no cost and with",
        "almost no restrictions whatsoever.  You may copy it, give it away or",
        "re-use it under the terms of the Project Gutenberg License included",
        "with this eBook or online at www.gutenberg.org",
        "",
        "",
        f"Title: {title}",
        "",
        f"Author: {author}",
        "",
        f"Release Date: August {rng.randint(1, 30)}, {rng.randint(2004, 2019)} [EBook #{number}]",
        "",
        "Language: English",
        "",
        "",
        f"*** {rule} PROJECT GUTENBERG EBOOK {title.upper()} ***",
        "",
        "",
        "",
        "",
        *rng.choice([
            [f"Produced by {rng.choice(NAMES)}, {rng.choice(NAMES)} and the Online",
             "Distributed Proofreading Team at http://www.pgdp.net (This",
             "file was produced from images generously made available",
             "by The Internet Archive)"],
            [f"Produced by {rng.choice(NAMES)}"],
            [f"E-text prepared by {rng.choice(NAMES)}, {rng.choice(NAMES)}, and the Project",
             "Gutenberg Online Distributed Proofreading Team"],
            [f"Transcribed from the 1889 edition by {rng.choice(NAMES)}, email",
             "someone@example.org"],
        ]),
        "",
        "",
        "",
    ]  # fmt: skip
    footer = [
        "",
        "",
        "",
        rng.choice([
            f"End of the Project Gutenberg EBook of {title}, by {author}",
            f"End of Project Gutenberg's {title}, by {author}",
        ]),
        "",
        f"*** {rule.replace('START', 'END')} PROJECT GUTENBERG EBOOK {title.upper()} ***",
        "",
        f"***** This file should be named {number}-0.txt or {number}-0.zip *****",
        "This and all associated files of various formats will be found in:",
        f"        http://www.gutenberg.org/{number}/",
        "",
        *notice(rng, rng.randint(90, 130), 72),
    ]  # fmt: skip
    return header, footer


def today(rng: random.Random, title: str, author: str) -> tuple[list[str], list[str]]:
    """Since about 2021: credits in the header, a marker that a long title runs over, licence."""
    number = rng.randint(60_000, 75_000)
    marker = f"*** START OF THE PROJECT GUTENBERG EBOOK {title.upper()} ***"
    header = [
        f"\ufeffThe Project Gutenberg eBook of {title}",
        "    ",
        "This ebook is for the use of anyone anywhere in the United States and",
        "most other parts of the world at no cost and with almost no restrictions",
        "whatsoever. " + rng.choice(SENTENCES)[:58],
        "",
        f"Title: {title}",
        "",
        "",
        f"Author: {author}",
        "",
        f"Release date: January {rng.randint(1, 30)}, 2022 [eBook #{number}]",
        f"                Most recently updated: May {rng.randint(1, 30)}, 2024",
        "",
        "Language: English",
        "",
        f"Credits: {rng.choice(NAMES)} and {rng.choice(NAMES)}",
        "",
        "",
        *textwrap.wrap(marker, 75),
        "",
        "",
        "",
    ]
    footer = [
        "",
        "",
        *textwrap.wrap(marker.replace("START", "END"), 75),
        "",
        "Updated editions will replace the previous one\u2014the old editions will",
        "be renamed.",
        "",
        *notice(rng, rng.randint(3, 6), 72),
        "START: FULL LICENSE",
        "",
        "THE FULL PROJECT GUTENBERG LICENSE",
        "",
        *notice(rng, rng.randint(90, 130), 72),
    ]
    return header, footer


ERAS: tuple[Callable[[random.Random, str, str], tuple[list[str], list[str]]] | None, ...] = (
    first_years, around_2002, proofreaders, today, None,
)  # fmt: skip


def plant(
    body: Sequence[str], title: str, author: str, era: int, rng: random.Random
) -> tuple[str, range]:
    """A book with the header and footer of an era (the last one: none); its body's line numbers."""
    make = ERAS[era % len(ERAS)]
    header, footer = make(rng, title, author) if make else ([], [])
    lines = [*header, *body, *footer]
    return "\n".join(lines) + "\n", range(len(header), len(header) + len(body))
