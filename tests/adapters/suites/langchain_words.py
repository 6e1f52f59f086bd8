"""2,000 random filters beside a reader of the documented words: dots, dollars, nulls, missing, lists, nesting, large values."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_mcp.adapters.langchain import parsed
from cmc_mcp.model.filters import compiled

KEYS = ["a", "b", "a.b", ".a", "a.", "$a", "a.$b", "a..b", "0"]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 12)
    | st.sampled_from([0.5, 1.0, "", "a", "ab", "B", "10", "9", "z" * 2_000, 2**60, "苹果"])
)
fields = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "$b", "a.b"]), inner, max_size=2)
    ),
    max_leaves=4,
)
documents = st.dictionaries(st.sampled_from(KEYS), fields, max_size=4)
ordered = st.integers(-2, 12) | st.sampled_from([0.5, "a", "ab", "9", "z" * 2_001])
comparisons = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), scalars | st.lists(scalars, max_size=2)),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=3)),
    st.tuples(st.sampled_from(["$any", "$all"]), st.lists(scalars, max_size=2)),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ordered),
    st.tuples(st.just("$contains"), st.integers(-2, 12) | st.sampled_from(["a", "", "10"])),
    st.tuples(st.just("$between"), st.tuples(st.integers(-2, 5), st.integers(0, 12)).map(list)),
    st.tuples(st.just("$exists"), st.booleans()),
)
tests = comparisons.map(lambda pair: dict([pair])) | scalars | st.lists(scalars, max_size=2)
leaves = st.tuples(st.sampled_from([*KEYS, "a.b.a", "a.0", "b.a.b"]), tests).map(lambda leaf: dict([leaf]))
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=3)).map(
            lambda p: dict([p])
        ),
        inner.map(lambda part: {"$not": part}),
    ),
    max_leaves=5,
)
GONE = object()


def at(value, key):
    """Look a key up: whole, then step by step, then by steps that are several words long, the longest first."""
    if isinstance(value, dict) and key in value:
        return value[key]
    plain = value
    for step in key.split("."):
        plain = one(plain, step)
    return plain if plain is not GONE else joined(value, key.split("."))


def one(value, step):
    if isinstance(value, dict):
        return value.get(step, GONE)
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    return GONE


def joined(value, steps):
    if not steps or value is GONE:
        return value
    sizes = range(len(steps), 0, -1) if isinstance(value, dict) else (1,)
    found = (joined(one(value, ".".join(steps[:size])), steps[size:]) for size in sizes)
    return next((each for each in found if each is not GONE), GONE)


def same(a, b):
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return isinstance(a, bool) is isinstance(b, bool) and a == b


def holds(field, value):
    if isinstance(field, list):
        return any(same(item, value) for item in field)
    return isinstance(field, str) and isinstance(value, str) and value in field


def naive(document, filter):
    """Read the language word by word."""
    ((key, value),) = filter.items()
    if key in ("$and", "$or", "$nor"):
        said = [naive(document, part) for part in value]
        return {"$and": all(said), "$or": any(said), "$nor": not any(said)}[key]
    if key == "$not":
        return not naive(document, value)
    field = at(document, key)
    ((name, asked),) = (value if isinstance(value, dict) else {"$eq": value}).items()
    known = None if field is GONE else field
    if name in ("$eq", "$ne"):
        return same(known, asked) is (name == "$eq")
    if name in ("$in", "$nin"):
        return any(same(known, each) for each in asked) is (name == "$in")
    if name in ("$any", "$all"):
        return (any if name == "$any" else all)(holds(field, each) for each in asked)
    if name == "$contains":
        return holds(field, asked)
    if name == "$exists":
        return (field is not GONE) is asked
    if name == "$between":
        return number(field) and asked[0] <= field <= asked[1]
    if not (number(field) and number(asked)) and not (isinstance(field, str) and isinstance(asked, str)):
        return False
    return {"$gt": field > asked, "$gte": field >= asked, "$lt": field < asked, "$lte": field <= asked}[name]


def number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


@settings(max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents, filters)
def test_a_filter_means_what_its_words_say(document, filter):
    assert compiled(parsed(filter))(document) is naive(document, filter)
