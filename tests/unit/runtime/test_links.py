"""Connections that never finish their TLS handshake do not pile up at the embedded venue."""

from types import SimpleNamespace

from engine.runtime.links import HANDSHAKE_S, Links


class Accepted:
    def __init__(self, *, is_open):
        self.is_open, self.why = is_open, ""

    def abort(self, why):
        self.why = why


def test_a_silent_connection_is_closed_when_the_next_comes_after_ten_seconds(tmp_path):
    """Those that are open, and those that are young, stay."""
    links = Links(SimpleNamespace(run_dir=str(tmp_path)))
    silent, up, young = Accepted(is_open=False), Accepted(is_open=True), Accepted(is_open=False)
    links._links = {"a": silent, "b": up, "c": young}
    links._handshaking = {"gone": 0.0, "a": 0.0, "b": 0.0, "c": 5.0}
    links._drop_silent(HANDSHAKE_S)
    assert (silent.why, up.why, young.why) == ("no TLS handshake came", "", "")
    assert list(links._handshaking) == ["c"]
