"""Python code judged by behaviour: two functions are the same problem if they do the same.

The last top-level function of each text is called in the sandbox on arguments made from both
texts: the literal arguments of calls in docstrings and asserts, changed at random, and values of
the annotated types. Where both give a value their outputs are compared, corrected for agreement by
chance (Cohen's kappa), so that two functions that nearly always say False are not the same. What
is not Python, does not run, or never varies is unknown.
"""

from __future__ import annotations

import ast
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tilth.evaluation.rephrased_arguments import make_arguments, more_arguments
from tilth.evaluation.rephrased_judges import Finding
from tilth.sandbox.generated import Call, Outcome, Sandbox
from tilth.store.digest import digest

LEAST_INPUTS = 5
# With fewer that both take, or a verdict that is unknown, more are made of those.
ENOUGH_INPUTS = 25
KAPPA = 0.9
SECONDS = 10.0
MEMORY = 512 << 20
# A state ("value", "error", "slow", "odd") and the form of the value, for each input.
Outputs = list[tuple[str, str]]
FENCE = re.compile(r"```(\w*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)

# Runs inside the sandbox. Outputs are put into one form: 2.0 is 2, a tuple is a list, a set has an
# order; "error", "slow" and "odd" (an object without a value to compare) are no outputs.
HARNESS = """
import ast, contextlib, io, json, random, signal, sys, types

given = json.load(sys.stdin)

class Slow(BaseException):
    pass

class Odd(Exception):
    pass

def ring(*ignored):
    raise Slow

def form(value, depth=0):
    if depth > 50:
        raise Odd
    if value is None or isinstance(value, (bool, str, bytes)):
        return repr(value)
    if isinstance(value, (int, float)):
        return repr(int(value)) if value == value and abs(value) < 1e15 and value == int(value) \\
            else "%.6g" % value
    if isinstance(value, complex):
        return "%.6g%+.6gj" % (value.real, value.imag)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(form(one, depth + 1) for one in value) + "]"
    if isinstance(value, (set, frozenset)):
        return "{" + ",".join(sorted(form(one, depth + 1) for one in value)) + "}"
    if isinstance(value, dict):
        pairs = ((form(k, depth + 1), form(v, depth + 1)) for k, v in value.items())
        return "{" + ",".join(sorted(k + ":" + v for k, v in pairs)) + "}"
    if isinstance(value, (types.GeneratorType, map, filter, zip, range, enumerate)):
        return form([one for one, _ in zip(value, range(1000))], depth + 1)
    raise Odd

def call(function, text):
    arguments = ast.literal_eval(text)
    random.seed(0)
    printed = io.StringIO()
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with contextlib.redirect_stdout(printed):
            value = function(*arguments)
            found = form(value)
            if value is None:
                found += form(arguments) + repr(printed.getvalue())
        return "value", found if len(found) < 2000 else "%d %d" % (len(found), hash(found))
    except Slow:
        return "slow", ""
    except Odd:
        return "odd", ""
    except Exception:
        return "error", ""
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)

signal.signal(signal.SIGALRM, ring)
space = {"__name__": "candidate"}
with contextlib.redirect_stdout(io.StringIO()):
    exec(compile(given["code"], "candidate", "exec"), space)
    function = space[given["name"]]
    outputs = []
    for text in given["arguments"]:
        hopeless = sum(state == "slow" for state, _ in outputs) > 9
        outputs.append(("slow", "") if hopeless else call(function, text))
print(json.dumps(outputs))
"""


@dataclass(frozen=True)
class Function:
    """A function that can be called: its module's text, its name, how many arguments it takes."""

    code: str
    name: str
    least: int
    most: int
    annotations: tuple[str, ...]
    examples: tuple[tuple[Any, ...], ...]


class CodeJudge:
    """Judges pairs of Python texts. `seed` draws the arguments.

    Raises SandboxError where generated code cannot be run on this machine.
    """

    def __init__(self, sandbox: Sandbox | None = None, *, seed: int = 0, workers: int = 2) -> None:
        self.sandbox = sandbox or Sandbox(seconds=SECONDS, memory=MEMORY)
        self.seed, self.workers = seed, workers
        self._functions: dict[str, Function | None] = {}

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[Finding]:
        findings: list[Finding | None] = [None] * len(pairs)
        trials = []
        for place, (left, right) in enumerate(pairs):
            functions = self._function(left), self._function(right)
            if functions[0] is None or functions[1] is None:
                findings[place] = Finding("unknown", "not a Python function")
                continue
            order = sorted(((digest(left), functions[0]), (digest(right), functions[1])),
                           key=lambda one: one[0])  # fmt: skip
            # The same arguments whichever text comes first.
            rng = random.Random(f"{self.seed} {order[0][0]} {order[1][0]}")
            arguments = _first_arguments([function for _, function in order], rng)
            if not arguments:
                findings[place] = Finding("unknown", "no arguments that fit both")
                continue
            trials.append(_Trial(place, functions[0], functions[1], rng, arguments))
        self._try(trials)
        again = []
        for trial in trials:
            taken = trial.taken()
            finding = compare_outputs(*trial.outputs)
            if taken and (finding.verdict == "unknown" or len(taken) < ENOUGH_INPUTS):
                trial.arguments = more_arguments(taken, trial.rng)
                again.append(trial)
        self._try(again)
        for trial in trials:
            findings[trial.place] = compare_outputs(*trial.outputs)
        return [finding for finding in findings if finding is not None]

    def _try(self, trials: Sequence[_Trial]) -> None:
        """Run both functions of each trial on its arguments; add what they gave."""
        calls = [
            _call(function, trial.arguments)
            for trial in trials for function in (trial.left, trial.right)
        ]  # fmt: skip
        outcomes = iter(self.sandbox.run_many(calls, workers=self.workers))
        for trial in trials:
            for outputs in trial.outputs:
                outputs.extend(_outputs(next(outcomes), len(trial.arguments)))
            trial.tried.extend(trial.arguments)

    def _function(self, text: str) -> Function | None:
        if text not in self._functions:
            self._functions[text] = python_function(text)
        return self._functions[text]


@dataclass
class _Trial:
    """Two functions, the arguments to try next, and what came of those tried before."""

    place: int
    left: Function
    right: Function
    rng: random.Random
    arguments: list[str]
    tried: list[str] = field(default_factory=list)
    outputs: tuple[Outputs, Outputs] = field(default_factory=lambda: ([], []))

    def taken(self) -> list[str]:
        """The arguments for which both gave a value."""
        return [
            text
            for text, (left, _), (right, _) in zip(self.tried, *self.outputs)
            if left == right == "value"
        ]


def _first_arguments(functions: Sequence[Function], rng: random.Random) -> list[str]:
    count = max(function.least for function in functions)
    if count > min(function.most for function in functions):
        return []
    examples = [example for function in functions for example in function.examples]
    return make_arguments(count, [f.annotations for f in functions], examples, rng)


def compare_outputs(left: Sequence[tuple[str, str]], right: Sequence[tuple[str, str]]) -> Finding:
    """The verdict on what two functions gave for the same arguments."""
    if not left or not right:
        return Finding("unknown", "does not run")
    both = [(a, b) for (x, a), (y, b) in zip(left, right) if x == y == "value"]
    either = sum("value" in (x, y) for (x, _), (y, _) in zip(left, right))
    if len(both) < LEAST_INPUTS or 2 * len(both) < either:
        return Finding("unknown", f"both run on {len(both)} of {len(left)} inputs")
    agreed = sum(a == b for a, b in both) / len(both)
    first, second = Counter(a for a, _ in both), Counter(b for _, b in both)
    chance = sum(first[value] * second[value] for value in first) / len(both) ** 2
    if chance == 1.0:
        return Finding("unknown", "the outputs never vary")
    kappa = (agreed - chance) / (1 - chance)
    reason = f"equal on {agreed:.0%} of {len(both)} inputs"
    return Finding("yes" if kappa >= KAPPA else "no", reason)


def python_function(text: str) -> Function | None:
    """The last top-level function of a text; None where it is no Python or holds none."""
    fences = FENCE.findall(text)
    if fences:
        text = "\n\n".join(code for language, code in fences if language.lower() in ("", "python"))
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if not functions:
        return None
    node = functions[-1]
    positional = [*node.args.posonlyargs, *node.args.args]
    required = any(default is None for default in node.args.kw_defaults)
    if required or not positional or positional[0].arg in ("self", "cls"):
        return None
    most = len(positional)
    annotations = tuple(ast.unparse(one.annotation) if one.annotation else "" for one in positional)
    examples = tuple(_examples(tree, text, most))
    least = most - len(node.args.defaults)
    return Function(text, node.name, max(1, least), most, annotations, examples)


def _examples(tree: ast.Module, text: str, most: int) -> list[tuple[Any, ...]]:
    """Literal arguments of calls in asserts and in docstrings, in order."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            found += [call for call in ast.walk(node) if isinstance(call, ast.Call)]
        elif isinstance(node, ast.FunctionDef):
            found += calls_in_words(ast.get_docstring(node) or "")
    examples: dict[str, tuple[Any, ...]] = {}
    for call in found:
        try:
            values = tuple(ast.literal_eval(one) for one in call.args)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
        if 0 < len(values) <= most and not call.keywords:
            examples.setdefault(repr(values), values)
    return list(examples.values())[:20]


def calls_in_words(words: str) -> list[ast.Call]:
    """Calls such as f([1, 2], "a") that stand in plain text."""
    found = []
    for start in re.finditer(r"\b[A-Za-z_]\w*\(", words):
        for end in re.finditer(r"\)", words[start.end() : start.end() + 400]):
            piece = words[start.start() : start.end() + end.end()]
            try:
                expression = ast.parse(piece.strip(), mode="eval").body
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
            if isinstance(expression, ast.Call):
                found.append(expression)
            break
    return found


def _call(function: Function, arguments: Sequence[str]) -> Call:
    given = {"code": function.code, "name": function.name, "arguments": list(arguments)}
    return Call(HARNESS, json.dumps(given))


def _outputs(outcome: Outcome, count: int) -> Outputs:
    """What the harness printed; nothing but errors where it was brought down."""
    if outcome.status == "ok":
        try:
            found = json.loads(outcome.stdout.splitlines()[-1])
            outputs = [(str(state), str(value)) for state, value in found]
            if len(outputs) == count:
                return outputs
        except (ValueError, IndexError, TypeError):
            pass
    return [("error", "")] * count
