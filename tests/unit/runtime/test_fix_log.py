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
