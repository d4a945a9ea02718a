"""What a worker of another Unix user gets of the configuration."""

import msgspec

from engine import config_loader
from engine.runtime.secrets_free import without_secrets
from engine.tools.docs_gen import ROOT


def test_a_worker_sees_its_own_settings_and_no_other_strategys():
    """A strategy's settings may hold what is nobody else's business."""
    demo = config_loader.load(f"{ROOT}/configs/demo.toml", [])
    shown = without_secrets(demo, "strategy.quote_maker")
    assert shown.strategies["quote_maker"].config == demo.strategies["quote_maker"].config != {}
    assert shown.strategies["momentum_taker"].config == {}


def test_no_key_address_or_hook_is_left():
    """Key ids and files, hosts, hooks and what is passed of the environment are not in it."""
    demo = config_loader.load(f"{ROOT}/configs/demo.toml", [])
    replace = msgspec.structs.replace
    session = replace(demo.sessions.order_entry, key_id="the-key", key_file="/k", host="example.org")
    config = replace(
        demo,
        sessions=replace(demo.sessions, order_entry=session),
        engine=replace(demo.engine, pass_environment=["TOKEN"]),
        alerts=replace(demo.alerts, webhook="https://hook"),
    )
    text = config_loader.encode(without_secrets(config, "strategy.quote_maker"))
    text = text if isinstance(text, bytes) else text.encode()
    for secret in (b"the-key", b'"/k"', b"example.org", b"TOKEN", b"https://hook"):
        assert secret not in text
