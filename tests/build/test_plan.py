import subprocess
import sys
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.build.plan import Plan, from_mapping, load
from tilth.build.plan_checks import POSITIVE, RANGES, check_source
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
        ("[split]\nshare = 0.9", "must lie above 0, up to 0.5"),
        ("[tokens]\nvocabulary = 10", "must lie from"),
        ("not toml", "not valid TOML"),
        ("[train]\nschedule = 'cosin'", "'train.schedule': no schedule is called 'cosin' (did you"),
        ("[model]\nsize = 'abc'", "'model.size': 'abc' is not a size (such as"),
        ("[model]\nsize = '" + "9" * 400 + "'", "'model.size'"),
        ("[model]\nsize = '5000b'", "'model.size' must lie from 1 to 1000b"),
        ("[index]\nk1 = -1", "'index.k1' must lie from 0 to 1000"),
        ("[index]\nb = 2", "'index.b' must lie from 0 to 1"),
        ("[index]\nb = nan", "'index.b' must be a finite number"),
        ("[train]\nlearning_rate = 0", "'train.learning_rate' must be above 0"),
        ("[train]\nlearning_rate = -0.1", "'train.learning_rate' must be above 0"),
        ("[train]\nlearning_rate = nan", "'train.learning_rate' must be a finite"),
        ("[train]\nthreads = 0", "'train.threads' must be at least 1"),
        ("[train]\ntokens = -1", "'train.tokens' must be at least 0"),
        ("[train]\nseed = -1", "'train.seed' must be at least 0"),
        ("[train]\nepochs = inf", "'train.epochs' must be a finite"),
        ("[train]\nepochs = 0", "'train.epochs' must be above 0"),
        ("[train]\nepochs = 1" + "0" * 400, "'train.epochs' must be a number of at most 64 bits"),
        ("[train]\ntokens_per_parameter = nan", "'train.tokens_per_parameter' must be a finite"),
        ("[train]\ntokens_per_parameter = -2", "'train.tokens_per_parameter' must be above 0"),
        ("[train]\nbatch_tokens = 100", "must be at least 'model.context' (256)"),
        ("[tokens]\nsample_bytes = 0", "'tokens.sample_bytes' must be at least 1"),
        ("[evaluate]\nqueries = 0", "'evaluate.queries' must be at least 1"),
        ("[evaluate]\nbytes = 0", "'evaluate.bytes' must be at least 1"),
        ("[split]\nshare = 0", "'split.share' must lie above 0, up to 0.5"),
        ("[split]\nshare = nan", "'split.share' must be a finite"),
        ("[documents]\ninclude = [3]", "'documents.include[0]' must be text"),
        ("[documents]\nexclude = ['a', true]", "'documents.exclude[1]' must be text"),
        ("[documents]\ninclude = '*.txt'", "'documents.include' must be a list"),
        ("[documents]\nblock_bytes = 0", "'documents.block_bytes' must be at least 1"),
        ("[documents]\ninstallation_bytes = 0", "'documents.installation_bytes' must be at"),
        ("[documents]\nsource = 'file'", "did you mean 'files'"),
        ("[rule.conditions]\nduplicate = 'words > 3'", "'rule.conditions.duplicate'"),
        ("[rule.conditions]\nx = 5", "'rule.conditions.x' must be text"),
        ("[rule.conditions]\nx = '" + "(" * 4000 + "words" + ")" * 4000 + "'", "too deeply"),
        ("[signals]\nlength = 3", "'signals.length' must be a section"),
        ("[transforms]\nrepair = 3", "'transforms.repair' must be a section"),
        ("[signals.language]\nsample_bytes = 'x'", "'signals.language.sample_bytes' must be int"),
        ("[signals.language]\nsample_bytes = 1", "'signals.language': sample_bytes must be"),
        ("[signals.language]\nlanguages = 'en'", "'signals.language.languages' must be a list"),
        (
            "[transforms.repair]\nnormalization = 3",
            "'transforms.repair.normalization' must be text",
        ),
        ("[transforms.repair]\nquotes = 'no'", "'transforms.repair.quotes' must be true or false"),
        ("[transforms.headers]\nlargest_share = nan", "largest_share' must be a finite"),
        ("[transforms.chain]\ntransforms = [3]", "'transforms.chain': a value is of the wrong"),
    ],
    ids=lambda text: text[:50],
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


def _keys():
    for section in fields(Plan):
        value = getattr(Plan(), section.name)
        names = [key.name for key in fields(value)] if is_dataclass(value) else value
        yield from ((section.name, name) for name in names)
    yield from [("rule", "conditions", "x"), ("signals", "language", "sample_bytes")]
    yield from [("signals", "language", "languages"), ("transforms", "headers", "method")]
    yield from [("transforms", "repair", "quotes"), ("transforms", "chain", "transforms")]


NUMBERS = st.integers() | st.sampled_from([0, 1, -1, 10**400]) | st.floats()
SCALARS = st.text(max_size=8) | NUMBERS | st.booleans()
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=3), SCALARS)


@given(st.sampled_from(list(_keys())), VALUES)
@settings(max_examples=300, deadline=None)
def test_any_value_at_a_real_key_is_taken_or_refused_in_one_line(path, value):
    mapping = value
    for key in reversed(path):
        mapping = {key: mapping}
    # Without the signals that the default rule needs, only the value under test may be wrong.
    mapping.setdefault("rule", {"conditions": {}, "keep_by": "id"})
    try:
        plan = from_mapping(mapping, "test")
    except UsageError as error:
        assert "\n" not in str(error)
        assert path[-1] in str(error) or path[0] in str(error) or path[0] == "rule"
    else:
        assert from_mapping(tomllib.loads(plan.to_toml()), "test") == plan


def test_every_number_has_a_range():
    numbers = {
        f"{section.name}.{key.name}"
        for section in fields(Plan)
        if is_dataclass(part := getattr(Plan(), section.name))
        for key in fields(part)
        if isinstance(getattr(part, key.name), (int, float))
    }
    assert numbers == {*RANGES, *POSITIVE}


@pytest.mark.parametrize(
    "setting", ["include=['*']", "exclude=['*']", "text_column=a", "group_by=a"]
)
def test_settings_for_files_are_refused_for_the_installation(setting):
    key = setting.partition("=")[0]
    plan = Plan().with_settings([f"documents.{setting}", "documents.source=files"])
    check_source(plan, "plan.toml")
    says = f"'documents.{key}' has no effect for the Python installation"
    with pytest.raises(PlanError, match=says):
        plan.with_settings(["documents.source=installation"])


def test_a_plan_for_the_installation_without_settings_for_files_is_taken():
    check_source(Plan().with_settings(["documents.source=installation"]), "plan.toml")


def test_reading_a_plan_imports_no_model_library():
    code = (
        "import sys; from tilth.build.plan import from_mapping; from_mapping({}, 'x');"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_signals_of_a_plan_are_added_to_the_default_ones():
    plan = from_mapping({"signals": {"language": {"languages": ["de"]}}}, "test")
    assert set(plan.signals) == set(Plan().signals)
    assert plan.signals["language"] == {"languages": ["de"]}
