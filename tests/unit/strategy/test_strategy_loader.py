"""Loading a class by module:Class, and its settings: every error names strategy, key, value and what would be right."""

import sys
import textwrap

import pytest

from engine.errors import ConfigError
from engine.strategy.api import Strategy, StrategyConfigBase
from engine.strategy.loader import load_strategy, strategy_config
from engine.strategy.settings import instruments_of
from engine.strategy.testing import make_config


class Taker(Strategy):
    class Config(StrategyConfigBase, frozen=True, kw_only=True, forbid_unknown_fields=True):
        edge: str
        qty: int = 5
        weights: list[int] = []

        def __post_init__(self):
            if self.qty < 1:
                raise ValueError(f"qty = {self.qty}: at least 1 contract")


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "strategies"
    folder.mkdir()
    (folder / "helper_of_mine.py").write_text("SIZE = 3\n")
    (folder / "mine.py").write_text(
        textwrap.dedent(
            """
            from engine.strategy.api import Strategy
            from helper_of_mine import SIZE

            class Mine(Strategy):
                size = SIZE

            class Other:
                pass
            """
        )
    )
    (folder / "broken.py").write_text("x = 1\nraise RuntimeError('no\\nway')\n")
    (folder / "needy.py").write_text("import there_is_no_such_module_here\n")
    yield folder
    for name in ("strategies.mine", "strategies.broken", "helper_of_mine"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("spec", ["mine:Mine", "strategies.mine:Mine"])
def test_class_is_loaded_from_the_directory(directory, spec):
    """With and without the directory's name, and it may import its neighbours."""
    found = load_strategy("m", spec, directory)
    assert (found.__name__, found.size, found.__module__) == ("Mine", 3, "strategies.mine")


def test_class_is_loaded_from_an_installed_package(directory):
    """Any importable module will do."""
    assert load_strategy("q", "strategies.quote_maker:QuoteMaker").__name__ == "QuoteMaker"
    with pytest.raises(ConfigError, match="no class 'Nope' there; the module has no strategy at all"):
        load_strategy("q", "json.decoder:Nope", directory)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("mine", "[strategies.m] strategy = 'mine': must be module:Class, like quote_maker:QuoteMaker"),
        ("mine:", "must be module:Class"),
        ("../evil:X", "must be module:Class"),
        ("absent:Mine", "there is no module 'absent', neither as a file in "),
        ("mine:Absent", "no class 'Absent' there; the module's strategies: Mine"),
        (
            "mine:Other",
            "Other is not a subclass of engine.strategy.api.Strategy; the module's strategies: Mine",
        ),
        ("mine:Strategy", "Strategy is not a subclass"),
        ("broken:X", "importing it fails at broken.py:2 in <module>: RuntimeError: no way"),
        ("needy:X", "importing it needs the module 'there_is_no_such_module_here', which isn't installed"),
    ],
)
def test_what_can_not_be_loaded_is_a_config_error(directory, spec, text):
    """The text names the strategy and what is there instead."""
    with pytest.raises(ConfigError) as caught:
        load_strategy("m", spec, directory)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"edge": "1", "qtty": 5}, "[strategies.t.config]: unknown key 'qtty' (value 5); did you mean 'qty'? Taker takes: edge, qty, weights"),
        ({}, "[strategies.t.config]: missing key 'edge', which Taker needs"),
        ({"edge": "1", "qty": "5"}, "[strategies.t.config]: qty = '5': expected `int`, got `str`"),
        ({"edge": 0.5}, "[strategies.t.config]: edge = 0.5: expected `str`, got `float`"),
        ({"edge": "1", "weights": [1, "b"]}, "[strategies.t.config]: weights[1] = 'b': expected `int`, got `str`"),
        ({"edge": "1", "qty": 0}, "[strategies.t.config]: qty = 0: at least 1 contract"),
    ],
)  # fmt: skip
def test_wrong_settings_name_strategy_key_value_and_what_is_right(values, text):
    """What the person with the TOML file needs to know."""
    with pytest.raises(ConfigError) as caught:
        strategy_config("t", Taker, values)
    assert str(caught.value) == text


def test_good_settings_become_the_struct():
    """Defaults are filled in."""
    assert strategy_config("t", Taker, {"edge": "0.01"}) == Taker.Config(edge="0.01", qty=5, weights=[])


def test_config_that_is_no_struct_is_told():
    """The class itself is at fault."""

    class Wrong(Strategy):
        Config = dict

    with pytest.raises(ConfigError, match=r"Wrong\.Config must be a subclass of StrategyConfigBase"):
        strategy_config("t", Wrong, {})


def test_market_must_be_an_instrument_with_a_good_tick():
    """Markets are looked up in [instruments]."""
    from engine.config import InstrumentConfig

    config = make_config("t", {}, {"BTC-PERP": InstrumentConfig(tick="0")})
    with pytest.raises(ConfigError, match="market 'X' is not in \\[instruments\\]; known: BTC-PERP"):
        instruments_of(config, ["X"])
    with pytest.raises(ConfigError, match="tick = '0': must be positive"):
        instruments_of(config, ["BTC-PERP"])
