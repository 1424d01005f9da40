"""How good a ranking is: TREC's measures, and queries with known answers made from documents.

The measures are those of `ir-measures` (MacAvaney, Macdonald and Ounis 2022), by their names there:
`nDCG@10` (Jarvelin and Kekalainen 2002; gains as judged), `R@100`, `RR@10`, `AP`, `Judged@10` and
so on. What is measured is the order of the run: trec_eval by itself would put tied scores, and
scores that differ by less than 32 bits can say, in another order.

Known-item queries (Azzopardi, de Rijke and Balog 2007, "Building simulated queries for known-item
topics") need no judge: each is made from a sentence of one document, which is the answer. Here the
sentence is taken out of the text that is indexed, so that no copy of the query is left to find.

When: to compare searches on documents that nobody has judged. When not: as a measure of what users
ask. The words are the author's own, which favours lexical search, and a duplicate of the document
is an answer that counts as wrong: remove duplicates first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.corpus.sentences import sentence_spans
from tilth.errors import DataError, UsageError, nearest
from tilth.retrieval.analyzer import Words

if TYPE_CHECKING:
    import numpy as np

    from tilth.types import Run

MEASURES = ("nDCG@10", "R@100", "RR@10", "AP")

# Which words are common is seen from this many documents.
SAMPLE = 1000


def evaluate_run(
    run: Run, qrels: Mapping[str, Mapping[str, int]], measures: Sequence[str] = MEASURES
) -> dict[str, float]:
    """Each measure: its mean over all queries of the judgements (of counts, the sum).

    `qrels`: query id -> document id -> gain; 0 and below are not relevant. A query that the run
    does not have, or for which it found nothing, counts 0; queries without judgements are left out.
    Raises DataError without judgements, UsageError for an unknown measure.
    """
    parsed = _parsed(measures)
    result = {}
    for name, values in evaluate_queries(run, qrels, measures).items():
        aggregate = parsed[name].aggregator()
        for value in values.values():
            aggregate.add(value)
        result[name] = float(aggregate.result())
    return result


def evaluate_queries(
    run: Run, qrels: Mapping[str, Mapping[str, int]], measures: Sequence[str] = MEASURES
) -> dict[str, dict[str, float]]:
    """As `evaluate_run`, one by one: measure -> query id -> value, in the order of `qrels`."""
    import ir_measures

    parsed = _parsed(measures)
    if not qrels:
        raise DataError("there are no judgements", hint="give query id -> document id -> gain")
    # Places stand for scores, and numbers for names: trec_eval compares scores as 32-bit numbers
    # and ends names at a zero byte.
    names = list(qrels)
    judged, places = {}, {}
    for number, query in enumerate(names):
        answers = [document for document, _ in run.rows.get(query, [])]
        numbers = {
            document: str(n)
            for n, document in enumerate({**qrels[query], **dict.fromkeys(answers)})
        }
        judged[str(number)] = {numbers[document]: gain for document, gain in qrels[query].items()}
        places[str(number)] = {numbers[document]: -float(n) for n, document in enumerate(answers)}
    result = {name: dict.fromkeys(names, 0.0) for name in measures}
    try:
        entries = list(ir_measures.iter_calc(list(set(parsed.values())), judged, places))
    except ValueError as error:
        raise UsageError(str(error).replace("\n", " "), where="measures") from None
    for entry in entries:
        for name, measure in parsed.items():
            if measure == entry.measure:
                result[name][names[int(entry.query_id)]] = float(entry.value)
    return result


def _parsed(measures: Sequence[str]) -> dict[str, Any]:
    import ir_measures

    if isinstance(measures, str):
        raise UsageError("measures is one text", hint=f"give a list: [{measures!r}]")
    parsed = {}
    for name in measures:
        try:
            parsed[name] = ir_measures.parse_measure(name)
            parsed[name].validate_params()
        except (NameError, ValueError, AssertionError, SyntaxError) as error:
            word = re.match(r"\w*", name)
            hint = nearest(word[0] if word else name, ir_measures.measures.registry)
            raise UsageError(f"no measure {name!r}: {error}", hint=hint) from None
    return parsed


class KnownItem(NamedTuple):
    """A query, the one document that answers it, and that document's text without the answer.

    Index `text` under `id`, in place of the document's own text.
    """

    query: str
    id: str
    text: str
    sentence: str


def known_item_queries(
    documents: Mapping[str, str],
    rng: np.random.Generator,
    count: int = 100,
    *,
    shortest: int = 8,
    longest: int = 30,
    terms: int = 6,
    common: float = 0.1,
) -> list[KnownItem]:
    """Queries from the sentences of `count` random documents, one each; fewer where too few fit.

    A sentence fits if it has `shortest` to `longest` words, at least three of them not common, is
    there once, and leaves at least `longest` words of its document. The query is up to `terms` of
    its words that are not common, drawn at random, in their order. A word is common if more than
    the share `common` of (at most 1,000) random documents hold it. In scripts without blanks pairs
    of characters are the words.

    The same documents, in any order, and the same state of `rng` give the same queries.
    """
    analyzer = Words()
    ids = sorted(documents)
    order = rng.permutation(len(ids)).tolist()
    sample = analyzer.count([documents[ids[place]] for place in order[:SAMPLE]])
    frequency = dict(zip(sample.terms, _frequencies(sample)))
    limit = common * min(len(order), SAMPLE)
    items: list[KnownItem] = []
    for place in order:
        if len(items) >= count:
            break
        text = documents[ids[place]]
        spans = sentence_spans(text)
        for number in rng.permutation(len(spans)).tolist():
            start, stop = spans[number]
            words = _outer(analyzer.spans(text[start:stop]))
            rare = {term: (a, b) for term, a, b in words if frequency.get(term, 0) <= limit}
            rest = text[:start] + text[stop:]
            if (
                shortest <= len(words) <= longest
                and len(rare) >= 3
                and text.count(text[start:stop].strip()) == 1
                and len(analyzer.terms(rest)) >= longest
            ):
                chosen = rng.permutation(len(rare))[:terms].tolist()
                places = sorted(list(rare.values())[number] for number in chosen)
                query = " ".join(text[start + a : start + b] for a, b in places)
                sentence = text[start:stop].strip()
                items.append(KnownItem(query, ids[place], rest, sentence))
                break
    return items


def _frequencies(counted: Any) -> list[int]:
    """In how many texts each term stands."""
    import numpy as np

    return np.bincount(counted.term, minlength=len(counted.terms)).tolist()


def _outer(spans: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Spans in order without those that lie inside another: identifiers without their parts."""
    kept: list[tuple[str, int, int]] = []
    for span in sorted(spans, key=lambda span: (span[1], -span[2])):
        if not kept or span[2] > kept[-1][2]:
            kept.append(span)
    return kept
