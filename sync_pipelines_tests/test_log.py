"""Lines carry their place and no secret, whoever handles them."""

import io
import json
import logging
import os
import re
import stat
import subprocess
import sys
import threading

import pytest

from sync_pipelines import log
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.log import configure, log_context

logger = logging.getLogger("sync_pipelines.engine.example")
SECRET = "postgresql://ann:hunter2@host/db"


@pytest.fixture(autouse=True)
def _as_before():
    """Logging is one for the whole process: whatever a test sets is put back."""
    root, factory = logging.getLogger("sync_pipelines"), logging.getLogRecordFactory()
    level, handlers = root.level, list(root.handlers)
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    logging.setLogRecordFactory(factory)


@pytest.fixture
def stream() -> io.StringIO:
    found = io.StringIO()
    configure("INFO", stream=found, environment={})
    return found


def test_a_line_carries_sync_table_and_run(stream):
    with log_context(sync="knowledge", table="journey_template", run_id="1234"):
        logger.info("%d records written", 5)
    line = stream.getvalue()
    assert "INFO sync_pipelines.engine.example [sync=knowledge table=journey_template run_id=1234]: 5 records" in line
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", line)


def test_an_inner_context_adds_to_the_outer_one_and_ends(stream):
    with log_context(sync="knowledge", run_id="1"):
        with log_context(table="journey_template", run_id=None):
            logger.info("inner")
        logger.info("outer")
    logger.info("none")
    places = [line.split("example")[1] for line in stream.getvalue().splitlines()]
    assert places == [
        " [sync=knowledge table=journey_template run_id=1]: inner",
        " [sync=knowledge run_id=1]: outer",
        ": none",
    ]


def test_a_context_ends_with_an_error_too(stream):
    with pytest.raises(ZeroDivisionError), log_context(sync="knowledge"):
        raise ZeroDivisionError
    logger.info("after")
    assert "knowledge" not in stream.getvalue()


def test_threads_have_contexts_of_their_own(stream):
    started, go_on = threading.Event(), threading.Event()

    def other() -> None:
        with log_context(sync="voice"):
            started.set()
            go_on.wait(60)
            logger.info("from the other")

    thread = threading.Thread(target=other)
    with log_context(sync="knowledge"):
        thread.start()
        started.wait(60)
        logger.info("from this")
        go_on.set()
        thread.join()
    assert "[sync=knowledge]: from this" in stream.getvalue()
    assert "[sync=voice]: from the other" in stream.getvalue()


def test_no_secret_stands_in_a_message_an_argument_or_an_exception(stream):
    logger.info("connecting to " + SECRET)
    logger.info("connecting to %s with %s", SECRET, {"token": "hunter2"})
    try:
        raise ValueError(SECRET) from RuntimeError("password=hunter2")
    except ValueError:
        logger.exception("it failed: %s", SECRET)
    text = stream.getvalue()
    assert "hunter2" not in text
    assert text.count("ann:***@host") == 4
    assert "RuntimeError: password=***" in text
    assert "Traceback" in text


def test_a_handler_of_somebody_else_gets_no_secret_either(stream, caplog):
    """Dagster puts handlers of its own on our loggers, and one of them writes into its storage."""
    with caplog.at_level(logging.INFO):
        try:
            raise ValueError(SECRET)
        except ValueError:
            logger.exception("to %s", SECRET)
    assert "hunter2" not in caplog.text
    assert "Traceback" in caplog.text
    assert all("hunter2" not in str(vars(record)) for record in caplog.records)


def test_lines_of_other_packages_are_left_as_they_are(stream, caplog):
    logging.getLogger("somebody.else").warning("to %s", SECRET)
    logging.getLogger("sync_pipelines_of_another").warning("to %s", SECRET)
    assert [record.args for record in caplog.records] == [(SECRET,), (SECRET,)]
    assert stream.getvalue() == ""


def test_a_line_break_in_a_record_does_not_forge_a_line(stream):
    logger.warning("record %r: %s", "a", "no\r\n2026-01-01T00:00:00.000Z ERROR sync_pipelines: all is lost")
    assert len(stream.getvalue().splitlines()) == 1


def test_a_wrong_call_loses_no_line_and_stops_nothing(stream):
    logger.info("%d of %d", 1)
    assert "%d of %d (1,)" in stream.getvalue()


def test_extra_fields_of_any_name_are_allowed(stream):
    with log_context(sync="knowledge"):
        logger.info("fine", extra={"sync": 1, "table": 2, "run_id": 3, "place": 4})
    assert "[sync=knowledge]: fine" in stream.getvalue()


@pytest.mark.parametrize(
    ("environment", "level"),
    [
        ({}, logging.INFO),
        ({"LOG_LEVEL": "warning"}, logging.WARNING),
        ({"LOG_LEVEL": "warning", "SYNC_LOG_LEVEL": " Debug "}, logging.DEBUG),
        ({"SYNC_LOG_LEVEL": ""}, logging.INFO),
    ],
)
def test_the_level_comes_from_the_environment(environment, level):
    configure(stream=io.StringIO(), environment=environment)
    assert logging.getLogger("sync_pipelines").level == level


@pytest.mark.parametrize("name", ["SYNC_LOG_LEVEL", "LOG_LEVEL"])
def test_an_unknown_level_is_named_with_its_variable(name):
    with pytest.raises(ConfigurationError, match=rf"{name} is 'loud'.*DEBUG"):
        configure(environment={name: "loud"})


def test_configuring_twice_writes_each_line_once(stream):
    second = io.StringIO()
    configure("INFO", stream=second, environment={})
    logger.info("once")
    assert stream.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


def mode_of(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_the_file_is_its_owners_alone_even_where_it_was_there_before(tmp_path):
    new, old = tmp_path / "new.log", tmp_path / "old.log"
    old.write_text("before\n")
    old.chmod(0o644)
    for path in (new, old):
        configure(stream=io.StringIO(), environment={"SYNC_LOG_FILE": str(path)})
        logger.info("a diary, ü, \udcff")
        assert mode_of(path) == 0o600
        assert "a diary, ü, \\udcff" in path.read_text(encoding="utf-8")
    assert old.read_text().startswith("before\n")


def test_the_file_rotates_and_keeps_its_rights(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "MAX_BYTES", 1_000)
    path = tmp_path / "sync.log"
    configure(stream=io.StringIO(), file=path, environment={})
    for number in range(100):
        logger.info("line %d", number)
    files = sorted(found.name for found in tmp_path.glob("sync.log*") if not found.name.endswith(".lock"))
    assert files == ["sync.log", *(f"sync.log.{number}" for number in range(1, 6))]
    assert {mode_of(tmp_path / name) for name in files} == {0o600}
    assert max((tmp_path / name).stat().st_size for name in files) <= 1_000


@pytest.fixture
def two_writers(tmp_path):
    """Two handlers of one file, as two processes have them."""
    both = [log._SharedFileHandler(tmp_path / "sync.log") for _ in range(2)]
    yield both
    for handler in both:
        handler.close()


def record(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": text})


def test_after_another_process_has_rotated_a_line_goes_into_the_new_file(two_writers, tmp_path):
    first, second = two_writers
    second.emit(record("before"))
    first.doRollover()
    second.emit(record("after"))
    assert (tmp_path / "sync.log").read_text() == "after\n"
    assert (tmp_path / "sync.log.1").read_text() == "before\n"


def test_two_processes_that_find_the_file_full_rotate_it_once(two_writers, tmp_path):
    first, second = two_writers
    second.emit(record("before"))
    first.doRollover()
    second.doRollover()
    assert (tmp_path / "sync.log.1").read_text() == "before\n"
    assert not (tmp_path / "sync.log.2").exists()


WRITER = """
import io, logging, sys
from sync_pipelines import log
log.MAX_BYTES, log.BACKUPS = 5_000, 1_000
log.configure("INFO", sys.argv[1], stream=io.StringIO(), environment={})
for number in range(400):
    logging.getLogger("sync_pipelines.writer").info("from %s number %d", sys.argv[2], number)
"""


def test_several_processes_share_a_rotating_file_and_lose_no_line(tmp_path):
    """Dagster's daemon, code server and runs all write it; Python's own handler would write over what is rotated."""
    path = tmp_path / "sync.log"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(number)]) for number in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    text = "".join(found.read_text() for found in tmp_path.glob("sync.log*") if not found.name.endswith(".lock"))
    lines = re.findall(r"from (\d) number (\d+)\n", text)
    assert len(lines) == len(set(lines)) == 1_200
    assert len(list(tmp_path.glob("sync.log.*"))) > 3


@pytest.mark.parametrize("where", ["missing/sync.log", "."])
def test_a_file_that_cannot_be_written_is_named_with_its_variable(tmp_path, where):
    with pytest.raises(ConfigurationError, match=r"log file .* cannot be written.*SYNC_LOG_FILE"):
        configure(environment={"SYNC_LOG_FILE": str(tmp_path / where)})


def test_importing_changes_nothing():
    """An application that only publishes or searches keeps its own logging."""
    code = """
import json, logging
factory = logging.getLogRecordFactory()
import sync_pipelines.log
ours = logging.getLogger("sync_pipelines")
print(json.dumps([ours.handlers, ours.level, factory is logging.getLogRecordFactory(), logging.getLogger().handlers]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], 0, True, []]


def test_the_pools_traceback_of_a_session_that_the_server_ended_is_kept_off_a_commands_output():
    said = "import logging; logging.getLogger('sqlalchemy.pool.impl.QueuePool').error('Exception during reset')"
    code = f"from sync_pipelines import log; log.hush_clients(); {said}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


IN_A_RUN = """
import logging, sys
import dagster as dg
from sync_pipelines import log
log.configure(file=sys.argv[1])
speaker = logging.getLogger("sync_pipelines.engine.example")

@dg.op
def speak():
    speaker.info("a word in a run")
    speaker.debug("a detail")

@dg.job
def job():
    speak()

speaker.info("a word before it")
settings = {"python_logs": {"managed_python_loggers": ["sync_pipelines"]}}
with dg.DagsterInstance.ephemeral(settings=settings) as instance:
    result = job.execute_in_process(instance=instance)
    told = [record.user_message for record in instance.all_logs(result.run_id)]
speaker.info("a word after it")
assert told.count("a word in a run") == 1, told
"""


@pytest.mark.slow
def test_a_line_of_a_run_stands_once_in_the_console_in_the_file_and_in_dagster(tmp_path):
    program = [sys.executable, "-W", "ignore", "-c", IN_A_RUN, str(tmp_path / "log")]
    bare = {name: text for name, text in os.environ.items() if not name.endswith("LOG_LEVEL")}
    done = subprocess.run(program, capture_output=True, text=True, env=bare, check=False)
    assert done.returncode == 0, done.stderr
    told = done.stdout + done.stderr
    for word in ("a word before it", "a word in a run", "a word after it"):
        assert (told.count(word), (tmp_path / "log").read_text().count(word)) == (1, 1), told
    assert "a detail" not in told
