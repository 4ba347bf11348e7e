"""Accounts that are refused, slow, or give no bytes of an attachment: gkeepapi against the stand-in of Keep."""

from dataclasses import replace

import pytest

from sync_pipelines.commands import each
from sync_pipelines.engine.errors import ConfigurationError, RecordError, RunError, TransientError
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.patience import patience_of
from sync_pipelines.sandbox.keep.api import Keep
from sync_pipelines.sources.keep import account
from sync_pipelines_tests.sources.keep.exports import FIRST
from sync_pipelines_tests.sources.keep.live import EMAIL, PICTURE, Live, documents, note


def test_a_revoked_token_ends_the_run_and_names_the_user_and_the_remedy(ann: Live, keep: Keep) -> None:
    ann.put(note(0))
    _, first = ann.run()
    keep.revoke(EMAIL)
    with pytest.raises(
        RunError, match=r"user 'ann' \(BadAuthentication\).*`sync-pipelines users rotate ann`"
    ) as caught:
        ann.run(first.watermark)
    assert not isinstance(caught.value, TransientError)
    assert ann.master_token not in str(caught.value)
    assert ann.slept == []


def test_an_access_token_that_expired_is_asked_for_again(ann: Live, keep: Keep) -> None:
    ann.put(note(0))
    source = ann.source()
    first = source.changes(Scope(), since=None)
    keep.expire(EMAIL)
    assert not source.changes(Scope(), since=first.watermark).full


def test_a_pause_is_kept_and_the_run_goes_on(ann: Live, keep: Keep) -> None:
    ann.put(note(0))
    keep.fault("429", endpoint="changes", times=3)
    keep.fault("503", endpoint="auth", times=1)
    keep.fault("drop", endpoint="changes", times=1)
    assert list(ann.run()[0]) == [str(FIRST)]
    assert ann.slept == sorted(ann.slept)
    assert len(ann.slept) >= 4


@pytest.mark.parametrize("full", [False, True])
def test_json_that_says_nothing_is_no_empty_account(ann: Live, keep: Keep, full: bool) -> None:
    ann.put(note(0))
    _, first = ann.run()
    ann.put(note(1))
    keep.fault("json", endpoint="changes", times=1)
    found, changes = ann.run(first.watermark, full=full)
    assert (len(found), changes.source_empty, list(changes.deletes)) == (1 + full, False, [])
    keep.fault("json", endpoint="changes")
    with pytest.raises(TransientError, match=r"user 'ann' could not be read within 300 s: .*tells of no version"):
        ann.run(changes.watermark, full=full)


@pytest.mark.parametrize("asked", ["90", "date:90"])
def test_the_pause_that_keep_asks_for_is_kept(ann: Live, keep: Keep, asked: str) -> None:
    ann.put(note(0))
    keep.fault("429", endpoint="changes", times=1, retry_after=asked)
    ann.run()
    assert len(ann.slept) == 1
    assert 85 < ann.slept[0] <= 90


def test_a_429_for_ever_ends_at_the_deadline(ann: Live, keep: Keep) -> None:
    keep.fault("429", endpoint="changes")
    with pytest.raises(TransientError, match=r"user 'ann' could not be read within 300 s: .*asks for a pause \(429\)"):
        ann.run()
    assert 200 < ann.now <= 300
    began = ann.now
    with patience_of(each.PATIENCE), pytest.raises(TransientError, match=r"could not be read within 30 s: .*\(429\)"):
        ann.run()
    assert 10 < ann.now - began <= 30  # somebody waits at a terminal


def test_a_429_in_the_body_alone_ends_at_the_deadline_too(ann: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """gkeepapi's own loop waits for it, and knows no end."""
    import gkeepapi
    import requests

    answer = requests.Response()
    answer.status_code = 200
    answer._content = b'{"error": {"code": 429}}'
    monkeypatch.setattr(gkeepapi.KeepAPI, "_send", lambda *_, **__: answer, raising=False)
    monkeypatch.setattr(gkeepapi.API, "_send", lambda *_, **__: answer)
    monkeypatch.setattr(gkeepapi.time, "sleep", ann.sleep)
    with pytest.raises(TransientError, match="one pause after another"):
        ann.run()
    assert ann.now <= 400


def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_the_time_out(ann: Live, keep: Keep) -> None:
    keep.fault("slow", endpoint="changes", seconds=5)
    client = ann.client(timeout=0.1, deadline=0.5)
    with pytest.raises(TransientError, match="does not answer in time"):
        client.read(account.Mirror())
    keep.clear_faults()
    keep.fault("slow", endpoint="auth", seconds=5)
    with pytest.raises(TransientError, match="sign-in does not answer in time"):
        ann.client(timeout=0.1, deadline=0.5).check()


def test_without_the_extra_its_name_is_said(ann: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "gkeepapi", None)
    monkeypatch.delitem(sys.modules, "sync_pipelines.sources.keep.wire", raising=False)
    monkeypatch.delattr("sync_pipelines.sources.keep.wire", raising=False)
    with pytest.raises(ConfigurationError, match=r'pip install "sync-pipelines\[keep\]"'):
        ann.run()


def test_an_attachment_is_hashed_once_and_opened_when_it_is_wanted(ann: Live, keep: Keep) -> None:
    ids = ann.put(note(0, files=(PICTURE,)))
    found, first = ann.run()
    (file,) = found[str(FIRST)]["attachments"]
    assert keep.seen()["endpoints"]["content"] == 1
    ann.put(note(0, files=(PICTURE,), text="edited"), ids=[ids[0]])
    source = ann.source()
    again = source.changes(Scope(), since=first.watermark)
    assert documents(again.upserts)[str(FIRST)]["attachments"] == [file]
    assert keep.seen()["endpoints"]["content"] == 1
    with source.attachment(str(FIRST), file["name"]) as opened:
        assert opened.read(2) + opened.read() + opened.read() == b"a picture"
    ann.run(first.watermark, full=True)
    assert keep.seen()["endpoints"]["content"] == 2


@pytest.mark.parametrize("refused", [("404", "media"), ("403", "content")])
def test_an_attachment_that_google_does_not_give_is_named_without_bytes(
    ann: Live, keep: Keep, refused: tuple[str, str]
) -> None:
    keep.fault(refused[0], endpoint=refused[1])
    ann.put(note(0, files=(PICTURE,)))
    found, first = ann.run()
    (file,) = found[str(FIRST)]["attachments"]
    assert (file["size"], file["sha256"]) == (0, "")
    with pytest.raises(RecordError), ann.source().attachment(str(FIRST), file["name"]):
        pass
    keep.clear_faults()
    found, _ = ann.run(first.watermark, full=True)
    assert found[str(FIRST)]["attachments"] == [{**file, "size": 9, "sha256": PICTURE.sha256}]


def test_an_attachment_is_there_though_its_link_was_asked_for_in_an_outage_or_with_a_token_that_expired(
    ann: Live, keep: Keep
) -> None:
    ann.put(*(note(number, files=(replace(PICTURE, name=f"{number}.png"),)) for number in range(3)))
    for status in ("401", "429", "503"):
        keep.fault(status, endpoint="media", times=1)
    source = ann.source()
    found = documents(source.changes(Scope(), since=None).upserts)
    assert [item["attachments"][0]["sha256"] for item in found.values()] == [PICTURE.sha256] * 3
    name = found[str(FIRST)]["attachments"][0]["name"]
    keep.fault("401", endpoint="media")
    with pytest.raises(RunError, match=r"master token of user 'ann'"), source.attachment(str(FIRST), name):
        pass


def test_an_outage_in_the_middle_of_the_attachments_keeps_what_was_hashed(ann: Live, keep: Keep) -> None:
    ann.put(note(0, files=(PICTURE,)), note(1, files=(replace(PICTURE, name="q.png"),)))
    keep.fault("503", endpoint="content", every=2)
    with pytest.raises(TransientError):
        ann.source(timeout=0.5, deadline=0.5).changes(Scope(), since=None)
    keep.clear_faults()
    keep.clear_seen()
    found, _ = ann.run()
    assert {item["attachments"][0]["size"] for item in found.values()} == {9}
    assert keep.seen()["endpoints"]["content"] == 1
