"""Code judged by what it does: functions are read, arguments made, outputs compared."""

import ast
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.evaluation.rephrased import find_rephrasings
from tilth.evaluation.rephrased_arguments import change, make_arguments, more_arguments, sample
from tilth.evaluation.rephrased_code import CodeJudge, compare_outputs, python_function
from tilth.sandbox.selftest import sandbox_works

needs_sandbox = pytest.mark.skipif(not sandbox_works(), reason="no bubblewrap that passes its test")

COUNT = '''
def count_above(numbers: list[int], limit: int) -> int:
    """How many are greater than the limit.
    >>> count_above([1, 5, 9], 4)
    2
    """
    return sum(number > limit for number in numbers)
'''
AGAIN = """```python
def how_many(values, bound):
    # how_many([1, 5, 9], 4) gives 2
    found = 0
    for value in values:
        if value > bound:
            found += 1
    return float(found)
```"""


def test_functions_are_read():
    found = python_function(COUNT)
    assert (found.name, found.least, found.most) == ("count_above", 2, 2)
    assert found.annotations == ("list[int]", "int") and found.examples == (([1, 5, 9], 4),)
    assert python_function(AGAIN).name == "how_many"
    helper = "def a(x):\n return x\ndef b(x, y=2, *, z=3):\n return a(x)\nassert b(4, 5) == b(6)\n"
    found = python_function(helper)
    assert (found.name, found.least, found.most) == ("b", 1, 2)
    assert set(found.examples) == {(4, 5), (6,)}
    for text in (
        *("", "no code", "x = 1", "function f(a) { return a }", "def f(self, a): pass"),
        *("def f(): pass", "def f(a, *, b): pass", "def f(a:", "\0", "```js\nf(1)\n```"),
    ):
        assert python_function(text) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.floats(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES, st.integers(0, 99))
def test_a_changed_value_keeps_its_type(value, seed):
    assert type(change(value, random.Random(seed), "abc")) is type(value)


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        ("int", int), ("float", float), ("str", str), ("bool", bool), ("List[int]", list),
        ("typing.List[str]", list), ("Tuple[int, str]", tuple), ("tuple[int, ...]", tuple),
        ("Dict[str, List[int]]", dict), ("set[list[int]]", set), ("None", type(None)),
        ("'int'", int), ("Sequence[float]", list), ("Any", int), ("int |", int),
    ],
)  # fmt: skip
def test_samples_are_of_their_type(kind, type_):
    assert {type(sample(kind, random.Random(n), "xyz")) for n in range(20)} == {type_}


def test_unions_give_each_of_their_types():
    for kind in ("Optional[int]", "Union[int, str]", "int | str"):
        found = {type(sample(kind, random.Random(n), "xyz")) for n in range(40)}
        assert found <= {int, str} and int in found


@given(st.lists(st.tuples(VALUES, VALUES), max_size=4), st.integers(0, 9))
def test_arguments_are_different_literals(examples, seed):
    made = make_arguments(2, [("", "int")], examples, random.Random(seed))
    assert len(set(made)) == len(made)
    assert all(len(ast.literal_eval(text)) == 2 for text in made)
    assert made == make_arguments(2, [("", "int")], examples, random.Random(seed))
    if made:
        more = more_arguments(made[:3], random.Random(seed))
        assert not set(more) & set(made[:3]) and len(set(more)) == len(more)


def outputs(values):
    return [("error", "") if value is None else ("value", str(value)) for value in values]


@pytest.mark.parametrize(
    ("left", "right", "verdict"),
    [
        (range(10), range(10), "yes"),
        (range(10), [*range(9), 99], "no"),
        (range(40), [*range(39), 99], "yes"),
        (range(4), range(4), "unknown"),
        ([7] * 20, [7] * 20, "unknown"),
        # Equal on 90 %, but no more than chance would have it.
        ([0] * 18 + [1, 1], [0] * 20, "no"),
        ([*range(9), *[None] * 20], [*range(9), *[None] * 20], "yes"),
        ([*range(9), *[None] * 20], range(29), "unknown"),
        ([], [], "unknown"),
    ],
)
def test_outputs_are_compared_beyond_chance(left, right, verdict):
    pair = outputs(left), outputs(right)
    assert compare_outputs(*pair).verdict == compare_outputs(*pair[::-1]).verdict == verdict


@needs_sandbox
@pytest.mark.parametrize(
    ("left", "right", "verdict"),
    [
        (COUNT, AGAIN, "yes"),
        (COUNT, COUNT.replace("number > limit", "number >= limit"), "no"),
        (COUNT, COUNT.replace("number > limit", "nomber > limit"), "unknown"),
        (COUNT, "def one(values): return len(values)", "unknown"),
        (COUNT, "// a C program", "unknown"),
        (COUNT, "import nowhere\n" + AGAIN.replace("```python", "").replace("```", ""), "unknown"),
        (COUNT, "def f(a, b):\n while True: pass", "unknown"),
        (COUNT, "def f(a, b):\n import os, signal; os.kill(os.getppid(), 9)", "unknown"),
        ("def f(a):\n return sorted(set(a))", "def g(b):\n r = []\n for x in sorted(b):\n"
         "  if x not in r: r.append(x)\n return tuple(r)", "yes"),
        ("def f(a):\n a.sort()", "def g(b):\n b[:] = sorted(b)", "yes"),
        ("def f(a):\n yield from (x * 2 for x in a)", "def g(b):\n return [2.0 * x for x in b]",
         "yes"),
        ("def f(n: int):\n return object()", "def f(n: int):\n return object()", "unknown"),
        ("def f(n: int):\n import random\n return random.random()", "def g(n: int):\n"
         " import random\n return random.random()", "unknown"),
    ],
)  # fmt: skip
def test_functions_that_do_the_same_are_the_same(left, right, verdict):
    judge = CodeJudge(workers=1)
    one, other = judge([(left, right), (right, left)])
    assert one.verdict == other.verdict == verdict, (one, other)


@needs_sandbox
def test_the_search_over_code():
    tests = [COUNT, "def double(n: int):\n    return n * 2\n", "int main() { return 0; }"]
    training = ["def twice(k):\n    return k + k\n", AGAIN, "int main(void) { return 0; }"]
    training.append("def count_above(n: list[int], limit: int):\n    return min(n) + limit\n")
    found = find_rephrasings(tests, training, 4, kind="code")
    assert found.contaminated == [0, 1] and found.to_drop == [0, 1] and found.unknown == [2]
    assert find_rephrasings(tests, training, 4, kind="code") == found
