"""The configuration as a worker of another Unix user gets it: without what is none of its business.

Its user code runs in one process with it, and nothing that a process has read can be kept from its code.
"""

import os

import msgspec

from engine import config_loader
from engine.config import AlertsConfig, Config, SessionsConfig
from engine.net import keys


def path_of(run_dir: str, name: str) -> str:
    """Return where the configuration of such a worker is; the file is root's, and read before the worker becomes its user."""
    return os.path.join(run_dir, f"config.{name}.json")


def without_secrets(config: Config, name: str) -> Config:
    """Return a worker's configuration: without keys, their files, addresses of hooks, what is passed of the environment, and
    the settings of other strategies.
    """
    replace = msgspec.structs.replace
    sessions = {
        name: replace(session, key_id="", key_file="", ca_file="", host="", port=0)
        for name in SessionsConfig.__struct_fields__
        if (session := getattr(config.sessions, name)) is not None
    }
    engine = replace(config.engine, pass_environment=[])
    strategies = {
        other: strategy if f"strategy.{other}" == name else replace(strategy, config={})
        for other, strategy in config.strategies.items()
    }
    return replace(
        config,
        engine=engine,
        sessions=SessionsConfig(**sessions),
        alerts=AlertsConfig(),
        strategies=strategies,
    )


def write(config: Config, run_dir: str, name: str) -> str:
    """Write such a worker's configuration; return its digest."""
    shown = without_secrets(config, name)
    keys.write_private(path_of(run_dir, name), config_loader.encode(shown))
    return config_loader.digest(shown)
