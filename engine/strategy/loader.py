"""Finds a strategy's class by `module:Class`: first as a file of strategies/ (where the engine was started, then
beside the engine itself), then in any installed package.

A file of the directory wins over an installed module of the same name, and is loaded by its path, so that nothing else
of the working directory becomes importable. The directory itself is put at the end of the import path, so that a
strategy can be split over several files of it.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

from engine.errors import ConfigError
from engine.strategy.api import Strategy
from engine.strategy.failures import compact
from engine.strategy.settings import strategy_config

__all__ = ["DIRECTORY", "load_strategy", "strategy_config"]

DIRECTORY: Final = "strategies"
INSTALLED: Final = (
    Path(__file__).resolve().parents[2] / DIRECTORY
)  # beside the engine, wherever it is started from


def load_strategy(name: str, spec: str, directory: str | Path = DIRECTORY) -> type[Strategy]:
    """Load a strategy's class.

    Args:
        name: the strategy's name in the configuration, for messages.
        spec: `module:Class`; `strategies.module:Class` names the file in the directory too.
        directory: where users keep their strategies.

    Raises:
        ConfigError: the text isn't `module:Class`, there is no such module or class, it fails on import, or it is no
            `Strategy`.
    """
    where = f"[strategies.{name}] strategy = {spec!r}"
    module_name, colon, class_name = spec.partition(":")
    names = [*module_name.split("."), class_name]
    if not colon or not all(part.isidentifier() for part in names):
        raise ConfigError(f"{where}: must be module:Class, like quote_maker:QuoteMaker")
    path = _file_of(module_name, Path(directory))
    if path is None and directory == DIRECTORY:
        path = _file_of(module_name, INSTALLED)
    try:
        module = _load_file(module_name, path) if path is not None else importlib.import_module(module_name)
    except ModuleNotFoundError as problem:
        if problem.name is not None and module_name.split(".")[0] == problem.name.split(".")[0]:
            raise ConfigError(
                f"{where}: there is no module {module_name!r}, neither as a file in {directory} nor installed"
            ) from problem
        raise ConfigError(
            f"{where}: importing it needs the module {problem.name!r}, which isn't installed"
        ) from problem
    except (Exception, SystemExit) as problem:
        raise ConfigError(f"{where}: importing it fails at {compact(problem)}") from problem
    return _class_of(module, class_name, where)


def _file_of(module_name: str, directory: Path) -> Path | None:
    parts = module_name.split(".")
    if parts[0] == directory.name and len(parts) > 1:
        parts = parts[1:]
    path = directory.joinpath(*parts).with_suffix(".py")
    return path if path.is_file() else None


def _load_file(module_name: str, path: Path) -> ModuleType:
    tail = module_name.removeprefix(f"{DIRECTORY}.")
    full_name = f"{DIRECTORY}.{tail}"
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(full_name, path)
    assert spec is not None and spec.loader is not None, "a .py file always has a loader"  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module  # before it runs: msgspec resolves annotations through it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[full_name]
        raise
    return module


def _class_of(module: ModuleType, class_name: str, where: str) -> type[Strategy]:
    found = getattr(module, class_name, None)
    if isinstance(found, type) and issubclass(found, Strategy) and found is not Strategy:
        return found
    there = [
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Strategy) and value is not Strategy
    ]
    have = f"the module's strategies: {', '.join(there)}" if there else "the module has no strategy at all"
    if found is None:
        raise ConfigError(f"{where}: no class {class_name!r} there; {have}")
    raise ConfigError(f"{where}: {class_name} is not a subclass of engine.strategy.api.Strategy; {have}")
