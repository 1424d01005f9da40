"""The table of named data sets: what, licence, public address, digest. Only literals.

The digest is `sets.digest_path` of the folder. A licence is as the source states it; `not stated`
where the source repository says nothing. Sets for non-commercial use say so. Labelled sets of the
papers, and corpora beside them, lie in `named_labelled`.
"""

from __future__ import annotations

from tilth.data.named_labelled import LABELLED
from tilth.data.named_set import GITHUB, NamedSet

LUPPAR = GITHUB + "fabianobie/luppar/tree/9abddd4af4e3/data/"
RESEARCH = "not stated (public research collection)"

SETS: dict[str, NamedSet] = {
    "books_en": NamedSet(
        "corpus",
        "77 English novels 1700-1939, the first 600,000 characters of each",
        "public domain texts; the repository states none of its own",
        GITHUB + "computationalstylistics/100_english_novels/tree/143e601875d7",
        "70da4c9fd5bef372e0dfe6fa076a731b",
    ),
    "books_de": NamedSet(
        "corpus",
        "18 German novels, the first 250,000 characters of each",
        "public domain texts; the repository states none of its own",
        GITHUB + "computationalstylistics/68_german_novels/tree/4cc71e1d4464",
        "a701924ccacc3a287c785c89304c52cc",
    ),
    "books_fr": NamedSet(
        "corpus",
        "18 French novels 1840-1920 (ELTeC), the first 250,000 characters of each",
        "public domain texts; encoding CC BY 4.0",
        GITHUB + "COST-ELTeC/ELTeC-fra/tree/83f0a43fdb96",
        "8c1f31976510d5f5238c5cd931214103",
    ),
    "books_pg_raw": NamedSet(
        "corpus",
        "22 Project Gutenberg books as served, with licence header and footer",
        "public domain in the US; Project Gutenberg licence text inside each file",
        GITHUB + "AmanSharma0710/wss22/tree/e73e5d9c35c1/books",
        "c269399361b98022a71a3d70df9eef05",
    ),
    "wiki_html": NamedSet(
        "corpus",
        "350 English Wikipedia article pages as HTML",
        "CC BY-SA 3.0 (texts), CC BY-SA 4.0 (data set)",
        GITHUB + "ppasupat/WikiTableQuestions/tree/7d455a5a707b/page",
        "63e15bfe3685c6be2fede746921d258a",
    ),
    "tox_wordlists": NamedSet(
        "corpus",
        "bad words in 28 languages, a file each; the list that C4 uses",
        "CC BY 4.0",
        GITHUB + "LDNOOBW/List-of-Dirty-Naughty-Obscene-and-Otherwise-Bad-Words/tree/5faf2ba42d7b",
        "b2b00ff833cf32e3af28a0cbfc191328",
    ),
    "ir_cranfield": NamedSet(
        "rank",
        "Cranfield: 1,400 aerodynamics abstracts, 225 questions, graded judgements",
        RESEARCH,
        LUPPAR + "cran",
        "97af144dee1e0ba149e60ae8ddc7a392",
        # The file holds the original codes, 1 best to 4: gain = 5 - code. Its one line of code -1
        # for each question has no stated meaning: it is left out and listed among the problems.
        options={"gains": {1: 4, 2: 3, 3: 2, 4: 1}},
    ),
    "ir_cisi": NamedSet(
        "rank",
        "CISI: 1,460 information-science abstracts, 112 questions, 76 of them judged",
        RESEARCH,
        LUPPAR + "cisi",
        "602482390f3b7a5b94f15995c93c9a72",
    ),
    "ir_med": NamedSet(
        "rank",
        "MEDLINE 1033: 1,033 medical abstracts, 30 questions",
        RESEARCH,
        LUPPAR + "med",
        "31bd7b6a4d7cacf61ff52783b0abded9",
    ),
    "ir_npl": NamedSet(
        "rank",
        "NPL: 11,429 short physics titles and abstracts, 93 questions",
        RESEARCH,
        LUPPAR + "npl",
        "263b2e7bc3981255b56a5641a5d6ff48",
    ),
    "glue_sst2": NamedSet(
        "classify",
        "SST-2: 7,792 movie-review sentences, positive or negative, splits train and dev",
        "not stated",
        GITHUB + "clairett/pytorch-sentiment-classification/tree/457ffd83de90/data/SST2",
        "037a4987e0dd729941d7574d84565bcd",
        options={"labels": {"0": "negative", "1": "positive"}},
    ),
    "news_ag": NamedSet(
        "classify",
        "AG News: 5,100 news items of four topics",
        "non-commercial research only",
        GITHUB + "mhjabreel/CharCnn_Keras/tree/555590db4219/data/ag_news_csv",
        "5d29c046ffcd23743fb672b62d8fdb8d",
        file="ag_news.parquet",
        options={"labels": {"1": "World", "2": "Sports", "3": "Business", "4": "Sci/Tech"}},
    ),
    "tox_davidson": NamedSet(
        "classify",
        "21,126 tweets labelled hate, offensive or neither; holds slurs on purpose",
        "MIT",
        GITHUB + "t-davidson/hate-speech-and-offensive-language/tree/cb50f7e9eb85/data",
        "d58f9134b292c70a0c5773df4d958bdd",
        file="tweets.parquet",
        options={"id": "id", "labels": {"0": "hate", "1": "offensive", "2": "neither"}},
    ),
    "legal_terms": NamedSet(
        "classify",
        "153 terms of service and policies in Markdown, by what kind of document they are",
        "ODC-BY 1.0 (database); texts belong to the services",
        GITHUB + "OpenTermsArchive/pga-versions/tree/577430aa7c11",
        "08243ec3e68b12fb71e27d71e5bf2303",
        file="terms.parquet",
        options={"text": "markdown", "label": "document", "group": "service"},
    ),
    **LABELLED,
}
