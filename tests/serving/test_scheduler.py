"""Every policy, in virtual time: budgets and blocks are kept, everybody is served."""

import ast
import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import UsageError
from tilth.serving import scheduler
from tilth.serving.scheduler import POLICIES, Job, Limits, Plan, after, policy_named, schedule

REQUESTS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 12)), min_size=1, max_size=9)


def serve(requests, policy, tokens, sequences, blocks, block, arrivals=None):
    """All requests to their end; the plans, each with what ran before it."""
    left = {number: gives for number, (_, gives) in enumerate(requests)}
    coming = [Job(number, prompt) for number, (prompt, _) in enumerate(requests)]
    waiting, running, plans = [], [], []
    steps = 0
    while left:
        steps += 1
        assert steps < 2000, "somebody is never served"
        while coming and (arrivals is None or arrivals[coming[0].id] <= steps or not waiting):
            waiting.append(coming.pop(0))
        free = blocks - sum(job.blocks for job in running)
        limits = Limits(tokens, sequences, free, block)
        plan = schedule(waiting, running, limits, policy)
        plans.append((plan, list(waiting), list(running)))
        known = {job.id: job for job in (*waiting, *running)}
        stopped = [Job(number, known[number].length) for number in plan.preempted]
        admitted = [known[number] for number in plan.admitted]
        waiting = stopped + [job for job in waiting if job.id not in plan.admitted]
        running = [job for job in running if job.id not in plan.preempted] + admitted
        for number, count in plan.work:
            job = known[number]
            assert 1 <= count <= job.remaining
            done = after(job, count, block, gives=count == job.remaining)
            running[[one.id for one in running].index(number)] = done
            if count == job.remaining:
                left[number] -= 1
                if not left[number]:
                    del left[number]
                    running = [one for one in running if one.id != number]
        running.sort(key=lambda job: job.id)
        assert sum(job.blocks for job in running) <= blocks
        assert len(running) <= sequences
    return plans


@settings(max_examples=60, deadline=None)
@given(
    requests=REQUESTS, name=st.sampled_from(sorted(POLICIES)), tokens=st.integers(4, 40),
    sequences=st.integers(1, 4), block=st.integers(1, 5), spare=st.integers(0, 20),
)  # fmt: skip
def test_everybody_is_served_within_the_limits(requests, name, tokens, sequences, block, spare):
    policy = POLICIES[name]
    longest = max(prompt + gives for prompt, gives in requests)
    blocks = -(-longest // block) + spare
    for plan, waiting, running in serve(requests, policy, tokens, sequences, blocks, block):
        work, known = dict(plan.work), {job.id: job for job in (*waiting, *running)}
        assert len(work) == len(plan.work) and not set(work) & set(plan.preempted)
        assert set(plan.admitted) <= {job.id for job in waiting} & set(work)
        assert set(plan.preempted) <= {job.id for job in running}
        assert not (plan.admitted and plan.preempted)
        prompts = [number for number in work if not known[number].decodes]
        decodes = [job.id for job in running if job.decodes and job.id not in plan.preempted]
        if policy.chunked or (policy.bounded and len(prompts) > 1):
            assert sum(work.values()) <= tokens
        if policy.mixed:
            # Nobody who runs waits for somebody's prompt.
            assert set(decodes) <= set(work)
        else:
            assert not prompts or len(prompts) == len(work)
        if policy.idle:
            assert not (plan.admitted and running)
        assert policy.prompts is None or len(prompts) <= policy.prompts


def work_of(name, requests, **limits):
    limits = {"tokens": 8, "sequences": 8, "blocks": 100, "block": 4, **limits}
    return [dict(plan.work) for plan, *_ in serve(requests, POLICIES[name], **limits)]


def test_what_each_policy_does():
    requests = [(6, 3), (10, 2)]
    assert work_of("request_level", requests) == [{0: 6, 1: 10}, {0: 1, 1: 1}, {0: 1}]
    assert work_of("prefill_first", requests) == [{0: 6}, {1: 10}, {0: 1, 1: 1}, {0: 1}]
    assert work_of("orca", requests) == [{0: 6, 1: 10}, {0: 1, 1: 1}, {0: 1}]
    assert work_of("decode_maximal", requests) == [{0: 6}, {0: 1, 1: 7}, {0: 1, 1: 3}, {1: 1}]
    assert work_of("stall_free", requests) == [{0: 6, 1: 2}, {0: 1, 1: 7}, {0: 1, 1: 1}, {1: 1}]
    packed = work_of("prepacked", [(2, 1), (7, 1), (1, 1), (5, 1)])
    assert packed == [{1: 7, 2: 1}, {3: 5, 0: 2}]


def test_the_youngest_gives_way_and_comes_back():
    # Four blocks of four: both prompts fit, both answers do not.
    plans = serve([(6, 5), (4, 6)], POLICIES["stall_free"], 16, 4, blocks=4, block=4)
    stopped = [plan.preempted for plan, *_ in plans if plan.preempted]
    assert stopped == [(1,)]
    assert schedule([], [], Limits(8, 8, 3, 4), POLICIES["orca"]) == Plan()


def test_names_and_no_torch():
    with pytest.raises(UsageError, match="stall_free"):
        policy_named("stall_fre")
    names = {node.module for node in ast.walk(ast.parse(inspect.getsource(scheduler)))
             if isinstance(node, ast.ImportFrom)}  # fmt: skip
    assert names == {"__future__", "collections.abc", "dataclasses", "tilth.errors"}
