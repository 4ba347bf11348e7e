"""The application's tables, its sample rows, and generated ones."""

import json
import subprocess
from datetime import datetime
from typing import Any

import psycopg2
import pytest

from sync_pipelines.sandbox import application
from sync_pipelines.sandbox.application import JOURNEYS, KNOWLEDGE
from sync_pipelines_tests.sandbox.helpers import first_line, run_python

MEMORY = """
import json, sys
from sync_pipelines.engine.usage import peak_memory
from sync_pipelines.sandbox import application
application.generate(sys.argv[1], records=8000, text_bytes=4000)
small = peak_memory() / 2**20
application.generate(sys.argv[1], records=20000, text_bytes=4000)
print(json.dumps({"small": small, "large": peak_memory() / 2**20}))
"""


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with application.transaction(url) as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def checksum(url: str) -> list[tuple[Any, ...]]:
    tables = (
        (table, f'SELECT md5(string_agg(t::text, \'|\' ORDER BY "id")) FROM "{table}" t')
        for table in (KNOWLEDGE, JOURNEYS)
    )
    return [query(url, statement)[0] for _, statement in tables]


def test_columns_are_those_that_prisma_makes(database_url: str) -> None:
    found = query(
        database_url,
        """SELECT table_name, column_name, concat(data_type, '(' || datetime_precision || ')')
           FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position""",
    )
    at = "timestamp without time zone(3)"
    assert [row[1:] for row in found if row[0] == KNOWLEDGE] == [
        ("id", "text"),
        ("title", "jsonb"),
        ("content", "jsonb"),
        ("arabicText", "text"),
        ("category", "text"),
        ("tags", "ARRAY"),
        ("source", "text"),
        ("createdAt", at),
        ("updatedAt", at),
    ]
    assert [row[1:] for row in found if row[0] == JOURNEYS] == [
        ("id", "text"),
        ("goalKeywords", "ARRAY"),
        ("tags", "ARRAY"),
        ("fullJson", "jsonb"),
        ("isActive", "boolean"),
        ("matchCount", "integer"),
        ("createdAt", at),
        ("updatedAt", at),
    ]


def test_a_row_without_times_gets_those_of_now_in_utc(empty_database_url: str) -> None:
    with application.transaction(empty_database_url) as cursor:
        application.create_tables(cursor)
        cursor.execute(
            'INSERT INTO "KnowledgeReference" ("id", "title", "category") VALUES (%s, %s, %s)', ("a", "{}", "x")
        )
        cursor.execute(
            """SELECT abs(extract(epoch FROM "updatedAt" - (now() AT TIME ZONE 'UTC'))) FROM "KnowledgeReference" """
        )
        assert cursor.fetchone()[0] < 1


def test_there_are_enough_sample_rows_of_every_kind(database_url: str) -> None:
    counts = dict(
        query(
            database_url,
            """SELECT 'knowledge', count(*) FROM "KnowledgeReference" UNION ALL
               SELECT 'journeys', count(*) FROM "JourneyTemplate" UNION ALL
               SELECT 'in ' || language, count(*) FROM "KnowledgeReference", jsonb_object_keys("title") AS language
               GROUP BY language UNION ALL
               SELECT 'without arabicText', count(*) FROM "KnowledgeReference" WHERE "arabicText" IS NULL UNION ALL
               SELECT 'with arabicText', count(*) FROM "KnowledgeReference" WHERE "arabicText" IS NOT NULL UNION ALL
               SELECT 'without content', count(*) FROM "KnowledgeReference" WHERE "content" IS NULL UNION ALL
               SELECT 'without a language', count(*) FROM "KnowledgeReference"
               WHERE NOT ("title" ?& '{en,id,ar}') UNION ALL
               SELECT 'categories', count(DISTINCT "category") FROM "KnowledgeReference" UNION ALL
               SELECT 'inactive', count(*) FROM "JourneyTemplate" WHERE NOT "isActive" """,
        )
    )
    least = {
        "knowledge": 60,
        "journeys": 12,
        "in en": 50,
        "in id": 50,
        "in ar": 50,
        "with arabicText": 10,
        "without arabicText": 10,
        "without content": 1,
        "without a language": 3,
        "categories": 6,
        "inactive": 1,
    }
    assert {kind: (counts[kind], number) for kind, number in least.items() if counts[kind] < number} == {}


def test_two_sample_records_are_long_enough_for_many_chunks() -> None:
    words = [
        len(" ".join(text for text in (row["content"] or {}).values() if text).split())
        for row in application.sample_rows(KNOWLEDGE)
    ]
    assert sum(number > 2500 for number in words) >= 2


@pytest.mark.parametrize("table", [KNOWLEDGE, JOURNEYS])
def test_ids_look_like_cuids_and_are_unique_and_times_lie_in_their_years(table: str) -> None:
    rows = application.sample_rows(table)
    keys = [row["id"] for row in rows]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 25 and key.startswith("c") and key.isalnum() and key == key.lower() for key in keys)
    for row in rows:
        created, updated = (datetime.fromisoformat(row[name]) for name in ("createdAt", "updatedAt"))
        assert datetime(2024, 1, 1) <= created <= updated < datetime(2026, 11, 1)
    months = {row["updatedAt"][:7] for row in rows}
    assert len(months) >= min(12, len(rows) // 2)


def test_languages_are_written_in_their_own_script() -> None:
    def is_arabic(text: str) -> bool:
        return any("\u0600" <= character <= "\u06ff" for character in text)

    for row in application.sample_rows(KNOWLEDGE):
        for texts in (row["title"], row["content"] or {}):
            assert set(texts) <= {"en", "id", "ar"}, row["id"]
            assert all(is_arabic(texts[language]) for language in ("ar",) if texts.get(language)), row["id"]
            assert not any(is_arabic(texts[language]) for language in ("id",) if texts.get(language)), row["id"]
        assert row["arabicText"] is None or is_arabic(row["arabicText"])


def test_no_two_sample_records_hold_the_same_text() -> None:
    texts = [json.dumps([row["title"], row["content"]], sort_keys=True) for row in application.sample_rows(KNOWLEDGE)]
    assert len(set(texts)) == len(texts)


def test_journeys_differ_in_shape() -> None:
    shapes = {tuple(sorted(row["fullJson"])) for row in application.sample_rows(JOURNEYS)}
    assert len(shapes) >= 4


def test_an_analysis_needs_its_submission_and_goes_with_it(database_url: str) -> None:
    insert = """INSERT INTO ai_analyses (id, submission_id, sentiment, sentiment_score, model_name, model_version)
        SELECT gen_random_uuid(), {submission}, 'neutral', 0, 'm', '1'"""
    with application.transaction(database_url) as cursor:
        cursor.execute(insert.format(submission="(SELECT id FROM voice_submissions LIMIT 1)"))
        assert cursor.rowcount == 1
    with pytest.raises(psycopg2.errors.ForeignKeyViolation), application.transaction(database_url) as cursor:
        cursor.execute(insert.format(submission="gen_random_uuid()"))
    with application.transaction(database_url) as cursor:
        cursor.execute("DELETE FROM voice_submissions")
    assert query(database_url, "SELECT count(*) FROM ai_analyses") == [(0,)]


def test_a_table_that_a_later_version_adds_brings_no_deleted_sample_back(database_url: str) -> None:
    with application.transaction(database_url) as cursor:
        cursor.execute('DELETE FROM "JourneyTemplate"; DROP TABLE ai_analyses, voice_submissions')
    application.create(database_url)
    samples = len(application.sample_rows(application.SUBMISSIONS))
    assert query(database_url, "SELECT count(*) FROM voice_submissions") == [(samples,)]
    assert query(database_url, 'SELECT count(*) FROM "JourneyTemplate"') == [(0,)]
    assert query(database_url, "SELECT count(*) FROM ai_analyses") == [(0,)]


def test_loading_the_samples_twice_changes_nothing(database_url: str) -> None:
    before = checksum(database_url)
    with application.transaction(database_url) as cursor:
        assert application.load_samples(cursor) == 0
        cursor.execute('DELETE FROM "JourneyTemplate"')
        assert application.load_samples(cursor) == len(application.sample_rows(JOURNEYS))
    assert checksum(database_url) == before


def test_generated_rows_are_the_same_every_time_and_more_of_them_keep_the_first(
    empty_database_url: str, database_url: str
) -> None:
    with application.transaction(database_url) as cursor:
        cursor.execute('TRUNCATE "KnowledgeReference", "JourneyTemplate"')
    assert application.generate(empty_database_url, records=200) == 210
    assert application.generate(empty_database_url, records=300) == 105
    assert application.generate(database_url, records=300) == 315
    assert checksum(empty_database_url) == checksum(database_url)


def test_another_seed_gives_other_texts_under_the_same_ids(empty_database_url: str) -> None:
    application.generate(empty_database_url, records=20, seed=1)
    one = query(empty_database_url, 'SELECT "id", "content"::text FROM "KnowledgeReference" ORDER BY 1')
    with application.transaction(empty_database_url) as cursor:
        cursor.execute('TRUNCATE "KnowledgeReference", "JourneyTemplate"')
    application.generate(empty_database_url, records=20, seed=2)
    two = query(empty_database_url, 'SELECT "id", "content"::text FROM "KnowledgeReference" ORDER BY 1')
    assert [row[0] for row in one] == [row[0] for row in two] == [f"gen_{n:09d}" for n in range(1, 21)]
    assert not {row[1] for row in one} & {row[1] for row in two}


def test_a_generated_records_content_has_the_size_that_was_asked_for(empty_database_url: str) -> None:
    application.generate(empty_database_url, records=50, text_bytes=2000)
    sizes = query(
        empty_database_url,
        """SELECT sum(octet_length(value)) FROM "KnowledgeReference", jsonb_each_text("content") GROUP BY "id" """,
    )
    assert all(1990 <= size[0] <= 2000 + 3 * 200 for size in sizes)


@pytest.mark.slow
def test_generating_needs_no_more_memory_for_more_records(empty_database_url: str) -> None:
    program = run_python(MEMORY, empty_database_url)
    peak = first_line(program)
    assert program.wait(30) == 0
    # The larger load is 48 MB of text more; a thousand rows at a time are 4 MB, and the allocator keeps some of them.
    assert peak["large"] - peak["small"] < 24


def test_prismas_schema_in_a_url_is_honoured(empty_database_url: str) -> None:
    with application.transaction(empty_database_url) as cursor:
        cursor.execute('CREATE SCHEMA "my app"')
    application.generate(f"{empty_database_url}?schema=my%20app", records=20)
    assert query(empty_database_url, 'SELECT count(*) FROM "my app"."KnowledgeReference"') == [(20,)]


@pytest.mark.parametrize("value", ["tab\there", "line\nbreak", "back\\slash", "\\N", "", None, "carriage\rreturn"])
def test_every_value_comes_through_copy_as_it_was(empty_database_url: str, value: str | None) -> None:
    with application.transaction(empty_database_url) as cursor:
        application.create_tables(cursor)
    times = ("2024-01-01", "2024-01-01")
    row = ("k", "{}", None, value, value or "-", "{}", value, *times)
    assert application._copy(empty_database_url, KNOWLEDGE, iter([row])) == 1
    assert query(empty_database_url, 'SELECT "arabicText" FROM "KnowledgeReference"') == [(value,)]


def test_the_sample_files_are_part_of_the_package() -> None:
    program = "from sync_pipelines.sandbox import application; print(len(application.sample_rows('JourneyTemplate')))"
    process = run_python(program, cwd="/", stderr=subprocess.PIPE)
    assert int(process.communicate()[0]) >= 12
