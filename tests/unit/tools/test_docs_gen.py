"""Generated documentation: current, complete."""

import os
import typing

import msgspec
import pytest

from engine.config import Config
from engine.tools import docs_gen


def test_the_generated_pages_are_current():
    """docs/bus.md, docs/orders.md and configs/README.md are what the code says; `python -m engine docs` writes them."""
    assert docs_gen.stale(docs_gen.ROOT) == []


def structs(kind, found):
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in found:
        found.append(kind)
        for field in msgspec.structs.fields(kind):
            structs(field.type, found)
    for part in typing.get_args(kind):
        structs(part, found)
    return found


@pytest.mark.parametrize("struct", structs(Config, []), ids=lambda struct: struct.__name__)
def test_every_configuration_key_is_described(struct):
    """configs/README.md has each key with a meaning."""
    page = docs_gen.configuration()
    for field in msgspec.structs.fields(struct):
        if struct is Config:
            continue
        rows = [line for line in page.splitlines() if line.startswith(f"| `{field.name}` |")]
        assert rows, field.name
        assert all(row.split(" | ")[-1].strip(" |") for row in rows), field.name


def test_the_strategies_of_the_demo_are_described_too():
    """Their settings are keys of the file as well."""
    page = docs_gen.configuration()
    assert "## [strategies.NAME.config] of a quote maker" in page
    assert "| `lookback_ms` | whole number | `2000` |" in page


def test_a_page_that_was_changed_by_hand_is_found_and_written_anew(tmp_path, monkeypatch, capsys):
    """--check only says so."""
    for path in docs_gen.PAGES:
        os.makedirs(tmp_path / os.path.dirname(path), exist_ok=True)
        (tmp_path / path).write_text("by hand")
    monkeypatch.setattr(docs_gen, "ROOT", str(tmp_path))
    monkeypatch.setattr(docs_gen, "PAGES", {"docs/bus.md": docs_gen.bus})
    assert docs_gen.main(["--check"]) == 1
    assert "docs/bus.md is not current" in capsys.readouterr().err
    assert docs_gen.main([]) == 0
    assert docs_gen.main(["--check"]) == 0


def test_every_channel_has_its_section():
    """Who binds, who connects, what goes each way."""
    page = docs_gen.bus()
    for name, channel in docs_gen.CHANNELS.items():
        section = page.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0]
        assert f"`{channel.bound_by}` binds" in section
        for member in (*docs_gen.members(channel.up), *docs_gen.members(channel.down)):
            assert f"`{member.__name__}`" in section
