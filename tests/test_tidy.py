"""What no other tool checks: sizes, dangerous calls, forgotten markers, messages that the documentation knows."""

import ast
import os
import re

import msgspec
import pytest

from engine.messages import commands, control, decisions, executions, market_data, reconciliation, topology
from engine.tools import docs_gen

ROOT = docs_gen.ROOT
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 700
TOP_LEVEL = {
    ".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "configs", "docs", "engine", "pyproject.toml",
    "requirements-dev.lock", "requirements.lock", "scripts", "strategies", "tests",
}  # fmt: skip
MADE_BY_TOOLS = re.compile(
    r"\.git|\.venv(\.lock)?|\.run|\..*_cache|\.hypothesis|__pycache__|.*\.egg-info|build"
)
# Written so that this file does not find itself.
MARKERS = re.compile("TO" + "DO|FIX" + "ME|HA" + "CK|breakpoint" + r"\(|/wo" + "rk/|tmp/" + "h/")
POSSESSIVE_GROUP = re.compile(r"\)(?:[?*+]|\{[0-9,]+\})\+|\(\?>")
DANGEROUS_IMPORTS = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
DANGEROUS_CALLS = {"eval", "exec", "os.system", "os.popen"}


def python_files(*folders):
    """Every Python file below the folders, as a path from the root."""
    for folder in folders:
        for place, directories, names in os.walk(os.path.join(ROOT, folder)):
            directories[:] = sorted(name for name in directories if name != "__pycache__")
            yield from (
                os.path.relpath(os.path.join(place, name), ROOT)
                for name in sorted(names)
                if name.endswith(".py")
            )


def text_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def trees(*folders):
    for path in python_files(*folders):
        yield path, ast.parse(text_of(path), path)


def called(node):
    """The name of what a call calls: `eval`, `time.sleep`; empty for anything less plain."""
    function = node.func
    if isinstance(function, ast.Name):
        return function.id
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return f"{function.value.id}.{function.attr}"
    return ""


def test_no_function_is_longer_than_seventy_lines():
    """A function fits on a screen (docstring included)."""
    long = [
        f"{path}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path, tree in trees("engine", "strategies")
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_no_module_is_longer_than_seven_hundred_lines():
    """A module can be read at one sitting."""
    long = [
        path for path in python_files("engine", "strategies") if text_of(path).count("\n") > MODULE_LINES_MAX
    ]
    assert long == []


def test_every_module_opens_with_what_it_is():
    """A module's first statement is its docstring."""
    silent = [
        path
        for path, tree in trees("engine", "strategies")
        if not ast.get_docstring(tree) and text_of(path).strip()
    ]
    assert silent == []


def test_nothing_runs_what_it_was_given():
    """No pickle, eval, exec, marshal, shell."""
    found = []
    for path, tree in trees("engine", "strategies", "tests"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                names = []
            found += [f"{path}:{node.lineno} {name}" for name in names if name in DANGEROUS_IMPORTS]
            if isinstance(node, ast.Call):
                shell = [
                    k
                    for k in node.keywords
                    if k.arg == "shell" and not (isinstance(k.value, ast.Constant) and k.value.value is False)
                ]
                if called(node) in DANGEROUS_CALLS or shell:
                    found.append(f"{path}:{node.lineno} {called(node)}")
    assert found == []


def test_tests_sleep_only_while_they_poll():
    """A fixed sleep is slow on a good day and wrong on a bad one; `time.sleep` belongs into a loop that looks."""
    found = []
    for path, tree in trees("tests"):
        polling = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, (ast.While, ast.For))
            for inner in ast.walk(node)
        }
        found += [
            f"{path}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and called(node) == "time.sleep" and id(node) not in polling
        ]
    assert found == []


def test_no_markers_are_left():
    """What is not done is not in the tree."""
    found = []
    for folder in ("engine", "strategies", "tests", "scripts", "configs", "docs"):
        for place, directories, names in os.walk(os.path.join(ROOT, folder)):
            directories[:] = [name for name in directories if name != "__pycache__"]
            for name in names:
                path = os.path.relpath(os.path.join(place, name), ROOT)
                if MARKERS.search(text_of(path)):
                    found.append(path)
    assert found == []


def test_the_top_level_holds_what_it_should():
    """A new file at the top is a decision."""
    there = {name for name in os.listdir(ROOT) if not MADE_BY_TOOLS.fullmatch(name)}
    assert there == TOP_LEVEL


def test_scripts_can_be_run_and_stay_thin():
    """Each script but the shared ones is executable and short."""
    for name in sorted(os.listdir(os.path.join(ROOT, "scripts"))):
        path = os.path.join(ROOT, "scripts", name)
        assert name in {"_env", "_python"} or os.access(path, os.X_OK), name
        assert text_of(path).count("\n") < 100, name


def message_structs():
    for module in (commands, control, decisions, executions, market_data, reconciliation):
        for name, value in vars(module).items():
            if (
                isinstance(value, type)
                and issubclass(value, msgspec.Struct)
                and value.__module__ == module.__name__
            ):
                yield pytest.param(value, id=f"{module.__name__.rpartition('.')[2]}.{name}")


@pytest.mark.parametrize("struct", list(message_structs()))
def test_every_bus_message_is_frozen_and_keyword_only(struct):
    """A message never changes, and a field can be appended without breaking a caller."""
    config = struct.__struct_config__
    assert config.frozen
    assert not config.gc
    with pytest.raises(TypeError, match="Extra positional arguments"):
        struct(1)


@pytest.mark.parametrize("struct", list(message_structs()))
def test_every_bus_message_is_described(struct):
    """docs/bus.md has each message, and each message says what it is."""
    assert struct.__doc__
    assert not struct.__doc__.startswith(struct.__name__ + "(")
    assert f"`{struct.__name__}`" in text_of("docs/bus.md")


def test_message_tags_are_unique_on_each_side_of_a_channel():
    """A reader knows a message by its `type`."""
    for channel in topology.CHANNELS.values():
        for union in (channel.up, channel.down):
            tags = [member.__struct_config__.tag for member in docs_gen.members(union)]
            assert len(tags) == len(set(tags)), channel.name


def test_every_process_of_the_table_is_known():
    """A channel is bound by a process that exists, and by one only."""
    roles = {
        "market_data",
        "guard",
        "order_entry",
        "drop_copy",
        "strategy",
        "venue",
        "supervisor",
        "tool",
        "recorder",
    }
    for channel in topology.CHANNELS.values():
        assert {channel.bound_by, *channel.connected_by} <= roles
        assert channel.bound_by not in channel.connected_by


def test_no_pattern_has_a_possessive_group():
    """Python before 3.11.5 gets them wrong: one that fails midway keeps what it took (python/cpython issue 106052)."""
    found = []
    for path in python_files("engine", "strategies"):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            found += [f"{path}:{no}" for no, line in enumerate(file, 1) if POSSESSIVE_GROUP.search(line)]
    assert not found
