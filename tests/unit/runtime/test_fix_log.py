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
