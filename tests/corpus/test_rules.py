import itertools

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.rules import Rule, decide, parse
from tilth.errors import ExpressionError

TABLE = pa.table(
    {
        "id": ["a", "b", "c", "d"],
        "words": [10, 60, 80, None],
        "language": ["en", "en", "de", "en"],
        "bytes": [5, 30, 40, 50],
        "cluster": ["b", "b", None, "b"],
    }
)


def test_reasons_unknowns_and_the_representative():
    rule = Rule({"long enough": "words >= 50", "english": "language = 'en'"})
    rows = decide(TABLE, rule).to_pylist()
    assert [row["kept"] for row in rows] == [False, True, False, False]
    assert rows[0]["reasons"] == ["long enough"]
    assert rows[2]["reasons"] == ["english"]
    assert rows[3] == {
        "id": "d", "passed": False, "kept": False, "reasons": [],
        "unknown": ["long enough"], "representative": None,
    }  # fmt: skip


def test_no_condition_keeps_one_of_each_cluster():
    rows = decide(TABLE, Rule({})).to_pylist()
    assert [row["kept"] for row in rows] == [False, False, True, True]
    assert rows[0]["reasons"] == ["duplicate"] and rows[0]["representative"] == "d"


@pytest.mark.parametrize(
    "expression, says",
    [
        ("wrds > 3", "did you mean 'words'"),
        ("words > ", "does not parse"),
        ("read_text('/etc/passwd') = ''", "is not allowed"),
        ("(SELECT 1) = 1", "is not allowed"),
        ("words > 1; DROP TABLE documents", "one expression"),
        ("getenv('HOME') = 'x'", "is not allowed"),
        ("words IN (SELECT words FROM documents)", "is not allowed"),
        ("pragma_version() = 'x'", "is not allowed"),
        ("documents.words > 3", "unknown column"),
        ("regexp_matches(language, '(a+)+')", "is not allowed"),
        ("", "one expression"),
        ("*", "is not allowed"),
        ("words > $1", "is not allowed"),
        ("CAST(words AS VARCHAR) = '1'", "is not allowed"),
    ],
)
def test_what_is_not_an_expression_is_refused(expression, says):
    with pytest.raises(ExpressionError, match="condition 'x'") as error:
        parse(expression, TABLE.column_names, "x")
    assert says in str(error.value)


def test_the_message_names_the_position():
    with pytest.raises(ExpressionError, match="'wrds' at character 14"):
        parse("words > 3 or wrds < 1 or x", TABLE.column_names, "x")


def test_types_that_do_not_fit_are_one_line():
    with pytest.raises(ExpressionError) as error:
        decide(TABLE, Rule({"x": "language > 3 + words"}))
    assert "\n" not in str(error.value)


@given(st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_text_is_parsed_or_refused(expression):
    try:
        parse(expression, TABLE.column_names, "x")
    except ExpressionError as error:
        assert str(error)


@given(
    st.lists(
        st.tuples(st.sampled_from([None, 1, 5, 9]), st.sampled_from([None, "p", "q"])),
        min_size=1,
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_against_plain_python_and_for_any_order(rows, random):
    documents = [
        {"id": f"{i:02}", "words": words, "bytes": (i * 7) % 5, "cluster": cluster}
        for i, (words, cluster) in enumerate(rows)
    ]
    rule = Rule({"some": "words >= 5", "not nine": "words <> 9"})
    passing = [d for d in documents if d["words"] == 5]
    expected = {d["id"] for d in passing if d["cluster"] is None}
    by_cluster = itertools.groupby(
        sorted((d for d in passing if d["cluster"]), key=lambda d: d["cluster"]),
        key=lambda d: d["cluster"],
    )
    for _, members in by_cluster:
        expected.add(min(members, key=lambda d: (-d["bytes"], d["id"]))["id"])
    schema = pa.schema(
        {"id": pa.string(), "words": pa.int64(), "bytes": pa.int64(), "cluster": pa.string()}
    )
    for _ in range(2):
        decided = decide(pa.Table.from_pylist(documents, schema), rule).to_pylist()
        assert {row["id"] for row in decided if row["kept"]} == expected
        assert [row["id"] for row in decided] == [d["id"] for d in documents]
        assert all(row["reasons"] or row["unknown"] for row in decided if not row["kept"])
        random.shuffle(documents)


def test_the_connection_is_locked():
    import duckdb

    from tilth.corpus.rules import _locked_connection

    connection = _locked_connection(TABLE)
    for statement in (
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY documents TO '/tmp/never.csv'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "ATTACH '/tmp/never.db'",
        "SELECT * FROM TABLE_IN_PYTHON",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(statement)


def test_a_threshold_change_on_many_documents_measures_nothing_again():
    count = 100_000
    table = pa.table(
        {
            "id": [f"{i:06}" for i in range(count)],
            "words": list(range(count)),
            "bytes": list(range(count)),
            "cluster": [None] * count,
        }
    )
    assert decide(table, Rule({"x": "words >= 99990"})).column("kept").to_pylist().count(True) == 10
