"""The halt file: whoever reads it errs towards halting."""

import pytest

from engine.common import halt_file

SLOTS = {"alpha": 1, "beta": 2}
MARKETS = ("BTC-PERP", "ETH-PERP")


def scopes(text):
    return [(strategy, symbol) for strategy, symbol, _ in halt_file.parse(text, SLOTS, MARKETS)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all: news", [(None, "")]),
        ("all", [(None, "")]),
        ("strategy alpha: odd", [(1, "")]),
        ("  market BTC-PERP : odd", [(None, "BTC-PERP")]),
        ("strategy beta market ETH-PERP: odd", [(2, "ETH-PERP")]),
        ("strategy alpha\n\n# a remark\nmarket BTC-PERP\n", [(1, ""), (None, "BTC-PERP")]),
        ("strategy 7: of a configuration before this one", [(7, "")]),
    ],
)
def test_each_line_halts_its_scope(text, expected):
    assert scopes(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "# only a remark", "stop!!", "strategy gamma: x", "market DOGE", "strategy", "market", ": x", "\x00\xff", "ALL"],
)  # fmt: skip
def test_what_says_nothing_or_is_not_understood_halts_everything(text):
    assert scopes(text) == [(None, "")]


def test_what_the_guard_writes_is_read_back_as_it_was_meant():
    """Control characters and line ends of a reason can't make a second line."""
    text = halt_file.render(
        [halt_file.line("", "", "a\nstrategy alpha: b"), halt_file.line("beta", "BTC-PERP", "loss: 5")]
    )
    assert halt_file.parse(text, SLOTS, MARKETS) == [
        (None, "", "a strategy alpha: b"),
        (2, "BTC-PERP", "loss: 5"),
    ]
    assert halt_file.render([]) == ""
