import errno
import os

import pytest

from engine.runtime.fix_log import FixLog

KEY = "0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77"
LOGON = f"8=FIXT.1.1|9=99|35=A|49={KEY}|56=KalshiNR|34=1|95=6|96=c2ln/=|98=0|10=123|".replace(
    "|", "\x01"
).encode()
BEAT = b"8=FIXT.1.1\x019=5\x0135=0\x0110=001\x01"


def test_signature_and_key_are_masked_however_the_bytes_are_cut(tmp_path):
    for cut in range(1, len(LOGON)):
        path = tmp_path / f"{cut}.fix"
        log = FixLog(str(path), (KEY,))
        log.add("order_entry", ">", LOGON[:cut], 1)
        log.add("order_entry", ">", LOGON[cut:] + BEAT, 1)
        log.flush()
        text = path.read_text()
        assert "c2ln" not in text
        assert KEY not in text
        assert text.count("8=FIXT.1.1|") == 2
        assert "96=***|98=0|10=123|" in text


def test_the_file_is_ours_alone(tmp_path):
    FixLog(str(tmp_path / "x.fix"))
    assert (tmp_path / "x.fix").stat().st_mode & 0o077 == 0


def test_a_signature_with_soh_in_it_is_masked_whole(tmp_path):
    """As long as RawDataLength says; a length that lies masks more, never less than up to the next SOH."""
    log = FixLog(str(tmp_path / "x.fix"), (KEY,))
    for raw, length in (
        ("ab|secret|96=x", 14),
        ("ab|secret", 9),
        ("secret", 1),
        ("secret", 99999),
        ("secret", ""),
    ):
        body = f"8=FIXT.1.1|9=99|35=A|34=1|95={length}|96={raw}|98=0|10=123|"
        log.add("order_entry", ">", body.replace("|", "\x01").encode(), 1)
    log.add("order_entry", ">", b"8=FIXT.1.1\x019=99\x0135=A\x0196=secret\x0198=0\x0110=123\x01", 1)
    log.flush()
    text = (tmp_path / "x.fix").read_text()
    assert "secret" not in text and text.count("|96=***") == 6


def test_a_message_without_an_end_is_masked_too(tmp_path):
    """More than is kept waiting for the rest of a message is written as it is, but for its RawData."""
    log = FixLog(str(tmp_path / "x.fix"))
    log.add("order_entry", ">", b"8=FIXT.1.1\x019=99\x0135=A\x0196=secret" + b"s" * (1 << 17), 1)
    log.flush()
    text = (tmp_path / "x.fix").read_text()
    assert "secret" not in text and "96=***" in text


@pytest.fixture
def rotating(tmp_path):
    """A log of which every flush is more than a file may have."""
    log = FixLog(str(tmp_path / "x.fix"))
    log.bytes_max = 10

    def say(text):
        log.add("order_entry", ">", b"8=FIXT.1.1\x019=9\x0135=0\x0158=%s\x0110=123\x01" % text.encode(), 1)
        log.flush()

    return log, say


def test_a_full_file_is_put_aside_and_four_are_kept(tmp_path, rotating):
    log, say = rotating
    for number in range(7):
        say(f"n{number}")
    assert sorted(os.listdir(tmp_path)) == ["x.fix", "x.fix.1", "x.fix.2", "x.fix.3", "x.fix.4"]
    assert "58=n6|" in (tmp_path / "x.fix.1").read_text() and "58=n3|" in (tmp_path / "x.fix.4").read_text()
    assert log.lost_bytes == 0


def test_a_rotation_that_fails_never_lets_the_log_write_into_another_file(tmp_path, rotating, monkeypatch):
    """A disk that turned read-only: the number of a closed descriptor is the next file's, a journal's say."""
    _log, say = rotating

    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "replace", read_only)
    say("one")
    monkeypatch.undo()
    journal = tmp_path / "journal"
    with open(journal, "wb"):
        say("two")
    assert journal.read_bytes() == b""
    assert "58=one|" in (tmp_path / "x.fix.1").read_text() and "58=two|" in (tmp_path / "x.fix.1").read_text()


def test_what_found_no_new_file_after_a_rotation_stays_in_the_old_one(tmp_path, rotating, monkeypatch):
    """And the older ones are not pushed out by trying again."""
    _log, say = rotating
    say("zero")
    opened = os.open

    def full(path, *more, **named):
        if str(path).endswith(".fix"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, *more, **named)

    monkeypatch.setattr(os, "open", full)
    for number in range(6):
        say(f"n{number}")
    monkeypatch.undo()
    say("last")
    everything = "".join((tmp_path / name).read_text() for name in os.listdir(tmp_path))
    assert all(f"58={text}|" in everything for text in ("zero", "n0", "n1", "n2", "n3", "n4", "n5", "last"))


def test_a_log_that_could_not_be_opened_is_opened_later(tmp_path):
    """What came before is counted as lost; nothing fails."""
    directory = tmp_path / "logs"
    log = FixLog(str(directory / "x.fix"))
    log.add("order_entry", ">", BEAT, 1)
    log.flush()
    assert log.lost_bytes > 0
    directory.mkdir()
    log.add("order_entry", ">", BEAT, 1)
    log.flush()
    assert "35=0" in (directory / "x.fix").read_text()


def test_what_was_noted_is_written_in_its_order_with_its_times(tmp_path):
    """As if it had been added at once, also where a link goes amid a message and comes again."""
    at_once, later = FixLog(str(tmp_path / "a.fix"), (KEY,)), FixLog(str(tmp_path / "b.fix"), (KEY,))
    entries = [
        ("l", ">", LOGON[:40], 1),
        ("l", "<", BEAT, 2_000_000),
        ("l", ">", LOGON[40:], 3_000_000),
        ("l", "<", BEAT[:9], 4),
    ]
    for log in (at_once, later):
        for _ in range(2):
            for entry in entries:
                log.noted.append(entry)
                if log is at_once:
                    log.add_noted()
            log.forget("l")
        log.flush()
        assert log.noted == []
    text = (tmp_path / "a.fix").read_text()
    assert text == (tmp_path / "b.fix").read_text()
    assert text.count("8=FIXT.1.1") == 4 and "00:00:00.003Z l > 8=FIXT.1.1|" in text
