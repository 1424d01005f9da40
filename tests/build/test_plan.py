import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.build.plan import Plan, from_mapping, load
from tilth.errors import PlanError, UsageError

DOCS = Path(__file__).parents[2] / "docs" / "plan.md"


def test_a_resolved_plan_reads_back_the_same():
    plan = Plan().with_settings(["train.tokens=5000", 'rule.keep_by="words"', "index.b=1"])
    assert plan.train.tokens == 5000 and plan.rule.keep_by == "words" and plan.index.b == 1.0
    assert from_mapping(tomllib.loads(plan.to_toml()), "test") == plan


@pytest.mark.parametrize(
    "text, says",
    [
        ("[trian]\ntokens = 3", "did you mean 'train'"),
        ("[train]\ntokens_per_paramter = 3.0", "did you mean 'tokens_per_parameter'"),
        ("[train]\ntokens = 'many'", "must be int"),
        ("[train]\ntokens = true", "must be int"),
        ("train = 3", "must be a section"),
        ("[signals.lenght]", "did you mean 'length'"),
        ("[transforms.repair]\nnormalisation = 'NFC'", "has no option"),
        ("[rule.conditions]\nx = 'wrds > 3'", "did you mean 'words'"),
        ("[rule.conditions]\nx = 'words > '", "does not parse"),
        ("[split]\nshare = 0.9", "must lie from"),
        ("[tokens]\nvocabulary = 10", "must lie from"),
        ("not toml", "not valid TOML"),
    ],
)
def test_what_is_wrong_in_a_plan_is_named(tmp_path, text, says):
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(UsageError) as error:
        load(tmp_path / "plan.toml")
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "setting, says",
    [
        ("train.tokns=3", "did you mean 'tokens'"),
        ("train", "name=value"),
        ("seed=3", "unknown key"),
    ],
)
def test_what_is_wrong_in_a_setting_is_named(setting, says):
    with pytest.raises(PlanError, match=says):
        Plan().with_settings([setting])


def test_a_missing_plan_is_one_line(tmp_path):
    with pytest.raises(PlanError, match="no such plan"):
        load(tmp_path / "none.toml")


def test_the_documentation_shows_the_defaults():
    assert Plan().to_toml().strip() in DOCS.read_text("utf-8")


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=5), max_size=3))
@settings(max_examples=40, deadline=None)
def test_any_mapping_is_a_plan_or_is_refused(mapping):
    try:
        from_mapping(mapping, "test")
    except UsageError as error:
        assert str(error)
