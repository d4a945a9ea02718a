"""The scripts' own set-up: once, guarded, from any directory, with one line about it."""

import os
import shutil
import subprocess

import pytest

from engine.tools.docs_gen import ROOT

COMMANDS = (
    "bash",
    "env",
    "dirname",
    "readlink",
    "basename",
    "cmp",
    "cp",
    "mv",
    "rm",
    "mkdir",
    "flock",
    "cat",
    "sleep",
    "tail",
)
# Stands for an interpreter: makes an environment that is itself, installs nothing, and writes down what it was asked.
FAKE_PYTHON = """#!/usr/bin/env bash
case "$*" in
  *sys.executable*) echo "SPEED $0" ;;
  *"print(1)"*) echo 1 ;;
  --version) echo "Python 3.12.1" ;;
  "-m venv "*) echo venv >> "$FAKE_LOG"; mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  "-m pip install"*) sleep 0.1; echo "pip $*" >> "$FAKE_LOG" ;;
  "-m engine "*) echo "engine $* in $PWD" ;;
esac
"""


class Clone:
    """A copy of the scripts beside lock files of its own, on a machine with only what COMMANDS names."""

    def __init__(self, root, *, python):
        self.root = root
        self.log = root / "asked"
        self.path = root / "commands"
        self.more = {}
        self.path.mkdir()
        shutil.copytree(os.path.join(ROOT, "scripts"), root / "scripts")
        for name in ("requirements.lock", "requirements-dev.lock"):
            (root / name).write_text(f"what {name} names\n")
        for name in COMMANDS:
            (self.path / name).symlink_to(shutil.which(name))
        if python:
            self.add_python("python3.12", 1000)

    def add_python(self, name, speed):
        fake = self.path / name
        fake.write_text(FAKE_PYTHON.replace("SPEED", str(speed)))
        fake.chmod(0o755)
        return fake

    def start(self, script, *arguments, cwd="/"):
        environment = {
            "PATH": str(self.path),
            "FAKE_LOG": str(self.log),
            "HOME": str(self.root / "nobody"),
            **self.more,
        }
        return subprocess.Popen(
            [str(self.root / "scripts" / script), *arguments],
            env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, script, *arguments, cwd="/"):
        process = self.start(script, *arguments, cwd=cwd)
        out, err = process.communicate(timeout=20)
        return process.returncode, out, err

    def asked(self):
        return [line.split()[0] for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path, python=True)


def test_the_first_start_sets_up_and_says_so_in_one_line(clone, tmp_path):
    """Then it runs the command with its arguments, in the directory where it was called."""
    code, out, err = clone.run("launch", "my config.toml", "--for", "3s", cwd=tmp_path)
    assert (code, err) == (
        0,
        f"setting up: requirements.lock into .venv, new with Python 3.12.1 ({clone.path}/python3.12) (once; up to a minute)\n",
    )
    assert out == f"engine -m engine launch my config.toml --for 3s in {tmp_path}\n"
    assert clone.asked() == ["venv", "pip"]
    assert "--require-hashes" in clone.log.read_text()


def test_the_second_start_does_nothing_but_start(clone):
    """Nothing is said and nothing installed."""
    clone.run("launch", "x")
    assert clone.run("launch", "x") == (0, "engine -m engine launch x in /\n", "")
    assert clone.asked() == ["venv", "pip"]


def test_a_changed_lock_file_is_installed_into_the_same_environment(clone):
    """After a pull, say."""
    clone.run("launch", "x")
    (clone.root / "requirements.lock").write_text("another version\n")
    _, _, err = clone.run("ctl", "status")
    assert err == "setting up: requirements.lock into .venv (once; up to a minute)\n"
    assert clone.asked() == ["venv", "pip", "pip"]


def test_what_the_tests_need_is_enough_for_the_engine(clone):
    """scripts/bench installs the larger lock; scripts/launch then has all it needs."""
    clone.run("bench")
    assert clone.run("launch", "x")[2] == ""
    assert clone.asked() == ["venv", "pip"]


def test_uv_is_used_where_it_is(clone):
    """The same lock, hashes checked, the interpreter that was found."""
    uv = clone.path / "uv"
    uv.write_text(
        '#!/usr/bin/env bash\necho "uv $*" >> "$FAKE_LOG"\n'
        'if [ "$1" = venv ]; then mkdir -p "$5/bin"; cp "$4" "$5/bin/python"; fi\n'
    )
    uv.chmod(0o755)
    code, out, _ = clone.run("launch", "x")
    assert (code, out) == (0, "engine -m engine launch x in /\n")
    made, installed = clone.log.read_text().splitlines()
    assert made == f"uv venv --quiet --python {clone.path}/python3.12 {clone.root}/.venv"
    assert (
        installed
        == f"uv pip install --quiet --python {clone.root}/.venv/bin/python --require-hashes -r {clone.root}/requirements.lock"
    )


def test_first_starts_at_the_same_time_set_up_once(clone):
    """The others wait and go on."""
    processes = [clone.start("launch", "x") for _ in range(3)]
    results = [process.communicate(timeout=20)[0] for process in processes]
    assert results == ["engine -m engine launch x in /\n"] * 3
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert clone.asked() == ["venv", "pip"]


def test_a_failed_installation_is_tried_again(clone):
    """No stamp is left by what did not finish."""
    python = clone.path / "python3.12"
    python.write_text(FAKE_PYTHON.replace("SPEED", "1000").replace("sleep 0.1;", "exit 1;"))
    assert clone.run("launch", "x")[0] == 1
    python.write_text(FAKE_PYTHON.replace("SPEED", "1000"))
    shutil.rmtree(clone.root / ".venv")
    assert clone.run("launch", "x")[:2] == (0, "engine -m engine launch x in /\n")


def test_a_script_works_through_a_link(clone, tmp_path):
    """~/bin/launch may point to it."""
    (tmp_path / "scripts" / "elsewhere").symlink_to(clone.root / "scripts" / "launch")
    link = clone.path / "mine"
    link.symlink_to(clone.root / "scripts" / "launch")
    done = subprocess.run(
        [str(link), "x"],
        env={"PATH": str(clone.path), "FAKE_LOG": str(clone.log)},
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("engine -m engine launch x")


@pytest.mark.parametrize(
    ("speeds", "taken"),
    [
        (
            {"python3.13": 1000, "python3.12": 950, "python3": 920},
            "python3.13",
        ),  # about as fast: the newer one
        ({"python3.13": 1000, "python3.12": 850, "python3.11": 700}, "python3.11"),
        ({"python3.13": 1000, "python": 800}, "python"),
    ],
)
def test_the_fastest_python_is_taken(tmp_path, speeds, taken):
    """Builds of one version differ by a quarter and more."""
    clone = Clone(tmp_path, python=False)
    for name, speed in speeds.items():
        clone.add_python(name, speed)
    assert f"({clone.path}/{taken})" in clone.run("launch", "x")[2]


@pytest.mark.parametrize(
    "odd",
    [
        "cat >/dev/null; exit 1",  # reads what is not for it
        "echo welcome to our cluster; exit 1",
        "echo 99999999 /nowhere/python",
    ],
)
def test_what_only_looks_like_a_python_is_passed_over(clone, odd):
    """Wrappers stand on many a PATH."""
    wrapper = clone.path / "python3.13"
    wrapper.write_text(f"#!/usr/bin/env bash\n{odd}\n")
    wrapper.chmod(0o755)
    assert f"({clone.path}/python3.12)" in clone.run("launch", "x")[2]


def test_a_greeting_before_the_answer_is_no_part_of_it(clone):
    """A login banner, say."""
    python = clone.path / "python3.12"
    python.write_text(
        FAKE_PYTHON.replace("SPEED", "1000").replace('case "$*" in', 'echo hello; case "$*" in')
    )
    assert f"({clone.path}/python3.12)" in clone.run("launch", "x")[2]


def test_the_python_that_was_asked_for_is_taken(clone):
    """However slow."""
    clone.more["PYTHON"] = str(clone.add_python("python3.13", 9000))
    assert f"({clone.path}/python3.13)" in clone.run("launch", "x")[2]


def test_a_python_that_was_asked_for_and_does_not_fit_is_refused(clone):
    """Another one would be a surprise."""
    clone.more["PYTHON"] = "python3.9"
    code, out, err = clone.run("launch", "x")
    assert (code, out) == (4, "")
    assert err.startswith("error: PYTHON=python3.9 is not Python 3.11, 3.12 or 3.13")
    assert err.count("\n") == 1


def test_without_a_python_that_fits_it_says_which_is_needed(tmp_path):
    """Exit code 4 and one line."""
    code, out, err = Clone(tmp_path, python=False).run("launch", "x")
    assert (code, out) == (4, "")
    assert err.startswith("error: Python 3.11, 3.12 or 3.13 is needed and none was found")
    assert err.count("\n") == 1


def test_a_python_without_venv_is_named_with_the_remedy(tmp_path):
    """Debian's python3 comes without ensurepip."""
    clone = Clone(tmp_path, python=True)
    python = clone.path / "python3.12"
    python.write_text(FAKE_PYTHON.replace('case "$*" in', 'case "$*" in\n  *"import ensurepip"*) exit 1 ;;'))
    code, _, err = clone.run("launch", "x")
    assert code == 4
    assert err.startswith(f"error: {clone.path}/python3.12 can't make virtual environments")
    assert "python3-venv" in err
