"""Search finds records, best first, in any of the model's languages."""

from __future__ import annotations

import math
import operator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.targets.chroma.errors import CollectionGoneError
from sync_pipelines.targets.chroma.target import ChromaTarget
from sync_pipelines.targets.document_values import microseconds
from sync_pipelines.targets.embedding import EmbeddingSpec
from sync_pipelines.targets.search import best, chroma_filter, fields_in, fields_of
from sync_pipelines_tests.targets.chroma_helpers import NOON, CountingEmbedding, Doc, put
from sync_pipelines_tests.targets.conftest import MakeTarget
from sync_pipelines_tests.targets.test_chroma_reading import add_strangers

LIBRARY = {
    "sleep": "Good sleep: go to bed at the same hour each night and keep the room dark.\n\nنَم في الوقت نفسه كل ليلة.",
    "water": "Drink enough water during the day, more when it is hot.",
    "fasting": "In Ramadan Muslims fast from dawn to sunset.\n\nيصوم المسلمون في شهر رمضان من الفجر إلى غروب الشمس.",
    "zakat": "Zakat is alms, one fortieth of savings, given to the poor.\n\nالزكاة ركن من أركان الإسلام تُعطى للفقراء.",
    "pilgrimage": "The pilgrimage to Mecca is made once in a life.\n\nالحج إلى بيت الله الحرام في مكة مرة في العمر.",
    "bread": "Bake bread from flour, water, salt and yeast.",
    "bicycle": "How to repair a flat bicycle tyre with a patch.",
    "garden": "Tomatoes grow best in a sunny garden with rich soil.",
    "moon": "The moon goes round the earth in twenty-seven days.",
    "chess": "In chess the queen moves in every direction.",
    "budget": "Write down income and expenses to keep a household budget.",
    "running": "Begin running slowly, three times a week, and rest between.",
}


@pytest.fixture(scope="module")
def library(chroma_server: Any) -> ChromaTarget:
    from sync_pipelines.targets.chroma.client import ChromaAddress

    chroma_server.start()
    target = ChromaTarget(settings=ChromaAddress(url=chroma_server.url), collection="library")
    put(target, *[Doc(key, text, {"n": number}) for number, (key, text) in enumerate(LIBRARY.items())])
    return target


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ("how can I sleep better at night", "sleep"),
        ("fixing a puncture on my bike", "bicycle"),
        ("managing my money each month", "budget"),
        ("متى يصوم المسلمون؟", "fasting"),
        ("إعطاء المال للفقراء والمحتاجين", "zakat"),
        ("السفر إلى مكة لأداء الحج", "pilgrimage"),
        ("cara memanggang roti", "bread"),
    ],
)
def test_words_find_the_right_record_first(library: ChromaTarget, words: str, key: str):
    hits = best(library, words, limit=3)
    assert hits[0].key == key
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(0 <= hit.score <= 1 for hit in hits)
    assert (hits[0].text, hits[0].collection, hits[0].stranger) == (LIBRARY[key], "library", False)


def test_a_record_of_many_chunks_is_one_hit_with_its_whole_text(target: ChromaTarget):
    long = "The cat sat on the mat and purred all day long. " * 12 + "A whale swam by."
    put(target, Doc("long", long, {"category": "x"}), Doc("other", "A dog ran."), Doc("third", "Nothing of the sort."))
    hits = best(target, "the cat sat on the mat", limit=2)
    assert hits[0].key == "long"
    assert len({hit.key for hit in hits}) == 2
    assert hits[0].text == long
    assert hits[0].passage in long
    assert len(hits[0].passage) <= 60
    assert hits[0].metadata == {"category": "x"}
    assert best(target, "whale swam", limit=1)[0].key == "long"


def test_more_chunks_are_fetched_until_there_are_enough_records(target: ChromaTarget):
    docs = [Doc(f"k{n}", "The cat sat on the mat and purred all day long. " * 20) for n in range(5)]
    put(target, *docs, Doc("last", "An entirely different thing"))
    assert {hit.key for hit in best(target, "cat on the mat", limit=6)} == {*(d.key for d in docs), "last"}
    assert len(best(target, "cat on the mat", limit=50)) == 6


def test_records_without_text_are_never_found(target: ChromaTarget):
    put(target, Doc("empty", ""), Doc("blank", " \n "), Doc("text", "something"))
    assert [hit.key for hit in best(target, "anything", limit=10)] == ["text"]


def test_strangers_are_shown_and_marked(target: ChromaTarget):
    put(target, Doc("a", "the cat sat"))
    add_strangers(target, "s", by="hand")
    hits = {hit.key: hit for hit in best(target, "cat", limit=5)}
    assert (hits["a"].stranger, hits["s"].stranger) == (False, True)
    assert hits["s"].metadata == {"by": "hand"}


def test_several_collections_are_searched_as_one(make_target: MakeTarget):
    first, second = make_target(), make_target()
    put(first, Doc("a", "the cat sat on the mat"), Doc("b", "cat"))
    put(second, Doc("a", "the cat sat on the mat today"), Doc("c", "a bird"))
    hits = best([first, second], "the cat sat on the mat", limit=3)
    assert [(hit.key, hit.collection) for hit in hits][:2] == [("a", first.collection), ("a", second.collection)]
    assert hits[0].score == pytest.approx(1, abs=1e-3)


def test_a_search_can_be_filtered_by_every_kind_of_field(target: ChromaTarget):
    put(
        target,
        Doc(
            "a",
            "cat one",
            {"category": "x", "n": 1, "f": 0.5, "on": True, "tags": ["p", "q"], "at": microseconds(NOON)},
        ),
        Doc("b", "cat two", {"category": "y", "n": 2, "f": 1.5, "on": False, "tags": ["q"]}),
    )

    def keys(where: dict[str, Any]) -> set[str]:
        return {hit.key for hit in best(target, "cat", where=where)}

    assert keys({"category": "x"}) == {"a"}
    assert keys({"n": {"$gt": 1}}) == {"b"}
    assert keys({"n": {"$gte": 1, "$lt": 2}}) == {"a"}
    assert keys({"f": {"$lt": 1.0}}) == {"a"}
    assert keys({"on": True}) == {"a"}
    assert keys({"tags": {"$contains": "p"}}) == {"a"}
    assert keys({"tags": {"$contains": "q"}, "n": 2}) == {"b"}
    assert keys({"$or": [{"category": "x"}, {"n": 2}]}) == {"a", "b"}
    assert keys({"category": {"$in": ["x", "z"]}}) == {"a"}
    assert keys({"at": {"$gte": NOON}}) == {"a"}
    assert keys({"at": {"$gt": "2024-05-01T12:00:00Z"}}) == set()
    assert keys({"at": {"$gte": "2024-05-01"}}) == {"a"}
    assert keys({"at": NOON + timedelta(seconds=1)}) == set()
    assert keys({"category": "nothing"}) == set()


NUMBERS = {"i6": 6, "i7": 7, "i8": 8, "i-7": -7, "i-8": -8, "f7": 7.0, "f7.5": 7.5, "f8.25": 8.25, "f-7.5": -7.5}


@pytest.fixture(scope="module")
def numbers(chroma_server: Any) -> ChromaTarget:
    """Whole numbers and others in one field, and a record without it."""
    from sync_pipelines.targets.chroma.client import ChromaAddress

    chroma_server.start()
    target = ChromaTarget(settings=ChromaAddress(url=chroma_server.url), collection="numbers")
    put(target, *[Doc(key, "cat", {"n": number}) for key, number in NUMBERS.items()], Doc("none", "cat", {"m": 1}))
    return target


_COMPARES = {"$eq": operator.eq, "$ne": operator.ne, "$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt,
             "$lte": operator.le}  # fmt: skip


@pytest.mark.parametrize("value", [7.5, -7.5, 0.5, -0.5, 8.25, 7.0, 7, -7])
@pytest.mark.parametrize("name", _COMPARES)
def test_whole_numbers_are_compared_with_fractions_exactly(numbers: ChromaTarget, name: str, value: float):
    found = {hit.key for hit in best(numbers, "cat", limit=100, where={"n": {name: value}})}
    wanted = {key for key, number in NUMBERS.items() if _COMPARES[name](number, value)}
    assert found == wanted | ({"none"} if name == "$ne" else set())


def test_a_fraction_in_a_list_is_compared_exactly(numbers: ChromaTarget):
    def keys(where: dict[str, Any]) -> set[str]:
        return {hit.key for hit in best(numbers, "cat", limit=100, where=where)}

    assert keys({"n": 7.5}) == {"f7.5"}
    assert keys({"n": {"$in": [7.5]}}) == {"f7.5"}
    assert keys({"n": {"$in": [6, 7.5, -8.5]}}) == {"i6", "f7.5"}
    assert keys({"n": {"$nin": [7.5, 8.25]}}) == {*NUMBERS, "none"} - {"f7.5", "f8.25"}
    assert keys({"n": {"$gt": 7.5, "$lte": 8.25}}) == {"i8", "f8.25"}


def test_a_filter_is_translated_to_what_chroma_takes():
    assert chroma_filter(None) is None
    assert chroma_filter({}) is None
    assert chroma_filter({"at": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)}) == {"at": 1_000_000}
    assert chroma_filter({"a": 1, "b": {"$gt": 2}}) == {"$and": [{"a": 1}, {"b": {"$gt": 2}}]}
    assert chroma_filter({"$and": [{"a": 1}]}) == {"a": 1}


@pytest.mark.parametrize("where", [{"n": {"$gt": "soon"}}, {"n": {"$near": 1}}, {"n": None}, {"n": {"$in": []}}])
def test_a_wrong_filter_is_one_sentence(target: ChromaTarget, where: dict):
    put(target, Doc("a"))
    with pytest.raises(ConfigurationError, match="where"):
        best(target, "words", where=where)


@pytest.mark.parametrize(
    "condition",
    [
        *({"$in": value} for value in ([], ["a", 1], [None], [True, 1], "a", [["a"]], [2**63])),
        *(None, ["a"], {"$eq": None}, {"$ne": {}}, {"$gt": math.inf}, math.nan, 2**63, -(2**63) - 1),
    ],
    ids=repr,
)
def test_a_value_that_chroma_would_refuse_is_named_with_its_field(condition: Any):
    with pytest.raises(ConfigurationError, match=r"^where: n: \$\w+ takes a .+, and not "):
        chroma_filter({"n": condition})


def test_whole_numbers_of_both_kinds_may_stand_in_one_list(numbers: ChromaTarget):
    assert {hit.key for hit in best(numbers, "cat", limit=100, where={"n": {"$in": [6, 7.0]}})} >= {"i6", "i7"}


@pytest.mark.parametrize("where", ["n", [1]])
def test_what_is_no_filter_at_all_is_one_sentence(where: Any):
    with pytest.raises(ConfigurationError, match=r'is no filter. Write {"field": value}'):
        chroma_filter(where)


@pytest.mark.parametrize(
    "where",
    [
        {"n": {"$near": 1}},
        {"$nor": [{"n": 1}]},
        {"$and": {"n": 1}},
        {"$or": [1]},
        {"$and": []},
        {"$or": [{}]},
        {"$or": [{"$and": [{}, {}]}]},
        {"$or": [{"n": 1}, {}]},
        {"n": {}},
    ],
)
def test_a_wrong_operator_gets_the_list_of_those_that_there_are(where: dict):
    with pytest.raises(ConfigurationError, match=r"^where: .*Operators: \$eq, .*\$not_contains; \$and and \$or join"):
        chroma_filter(where)


def test_the_fields_of_a_filter_and_those_that_records_have(target: ChromaTarget):
    put(target, Doc("a", metadata={"category": "x", "n": 1}), Doc("b", metadata={"tags": ["p"]}))
    assert fields_of([target]) == {"category", "n", "tags"}
    assert fields_in({"a": 1, "$or": [{"b": {"$gt": 2}}, {"$and": [{"c": 1}, {"d": 1}]}]}) == {"a", "b", "c", "d"}


def test_a_collection_that_is_not_there_yet_is_one_sentence(target: ChromaTarget):
    pauses: list[float] = []
    with pytest.raises(CollectionGoneError, match="Run its sync first"):
        best(target, "words", sleep=pauses.append)
    assert pauses


def test_what_is_there_answers_and_what_is_not_made_yet_is_told(
    make_target: MakeTarget, caplog: pytest.LogCaptureFixture
):
    there, absent = make_target(), make_target()
    put(there, Doc("a", "the cat sat"))
    told: list[str] = []
    assert [hit.key for hit in best([absent, there], "cat", missing=told.append, sleep=lambda _: None)] == ["a"]
    sentence = f"knowledge/reference: there is no collection '{absent.collection}' yet. Run its sync first."
    assert told == [sentence]
    assert best([absent, there], "cat", sleep=lambda _: None)
    assert sentence in caplog.text
    with pytest.raises(CollectionGoneError, match="Run its sync first"):
        best([absent, make_target()], "cat", sleep=lambda _: None)


def test_without_words_nothing_is_asked(target: ChromaTarget):
    with pytest.raises(ConfigurationError, match="words"):
        best(target, "  ")
    with pytest.raises(ConfigurationError, match="words"):
        best(target, None)  # ty: ignore[invalid-argument-type]
    with pytest.raises(ConfigurationError, match="no text in UTF-8"):
        best(target, "caf\udce9")
    for limit in (0, 1.5):
        with pytest.raises(ConfigurationError, match="limit"):
            best(target, "words", limit=limit)  # ty: ignore[invalid-argument-type]


def test_a_collection_answers_with_the_model_that_it_was_built_with(make_target: MakeTarget):
    built = make_target(function=None, embedding=EmbeddingSpec(name="hash", dimensions=48))
    put(built, Doc("a", "the cat sat"), Doc("b", "birds fly"))
    asked = make_target(collection=built.collection, function=CountingEmbedding())
    assert best(asked, "cat", limit=1)[0].key == "a"
