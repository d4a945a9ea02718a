"""What another user could change of what the engine runs is found, named, and said how to be mended."""

import errno
import os
import struct
import sys

import pytest

from engine import config_loader
from engine.runtime import planted_code

WHY = "root goes by what it says"


@pytest.fixture
def place(tmp_path):
    """A directory of ours, which nobody else can write, with a module and a package in it."""
    old = os.umask(0o022)
    (tmp_path / "code" / "package").mkdir(parents=True)
    (tmp_path / "code" / "module.py").write_text("")
    (tmp_path / "code" / "package" / "inner.py").write_text("")
    yield tmp_path / "code"
    os.umask(old)


def found(path):
    return list(dict.fromkeys(planted_code.tree(str(path))))  # as `problems`: by several ways, told once


def test_what_is_ours_alone_is_trusted(place):
    assert found(place) == []
    assert found(place / "module.py") == []


@pytest.mark.parametrize("inside", ["", "module.py", "package", "package/inner.py"])
def test_whatever_everybody_may_write_is_named_with_its_mode_and_what_mends_it(place, inside):
    """A directory on the import path, a file, a directory or file somewhere below."""
    path = place / inside
    path.chmod(path.stat().st_mode | 0o002)
    (said,) = found(place)
    mode = f"{path.stat().st_mode & 0o7777:04o}"
    assert said.startswith(f"{path}: belongs to ") and f"has mode {mode}" in said
    assert said.endswith(f"chown root {path}; chmod go-w {path}")


def test_what_a_group_may_write_counts_unless_it_is_roots(place, monkeypatch):
    module = place / "module.py"
    module.chmod(0o664)
    if module.stat().st_gid == 0:
        assert found(place) == []
        os.chown(module, -1, 12345)
    assert len(found(place)) == 1


def acl_that_lets_nobody_write():
    """Return an access list as Linux stores it (linux/posix_acl_xattr.h): version, then tag, permissions, id of each entry."""
    none = 0xFFFFFFFF
    entries = [(0x01, 6, none), (0x02, 6, 65534), (0x04, 4, none), (0x10, 6, none), (0x20, 4, none)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of the group root")
@pytest.mark.parametrize("inside", ["", "module.py", "package", "package/inner.py"])
def test_an_access_list_counts_although_the_group_is_roots(place, inside):
    """What it allows to a named user shows as what the group may do."""
    path = place / inside
    os.chown(path, 0, 0)
    os.setxattr(path, "system.posix_acl_access", acl_that_lets_nobody_write())
    assert path.stat().st_mode & 0o777 == 0o664
    (said,) = found(place)
    assert said.startswith(f"{path}: belongs to root and has mode 0664 and an access list (ACL), but")
    path.chmod(0o644 | (0o111 if path.is_dir() else 0))  # as it says: then the list allows no writing
    assert found(place) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of the group root")
@pytest.mark.parametrize(
    ("number", "trusted"), [(errno.ENODATA, True), (errno.ENOTSUP, True), (errno.EIO, False)]
)
def test_an_access_list_that_cant_be_read_is_taken_for_one(place, monkeypatch, number, trusted):
    """Where there is none, or the file system knows of none, there is nothing to fear."""

    def getxattr(path, name, *, follow_symlinks):
        raise OSError(number, os.strerror(number), path)

    os.chown(place / "module.py", 0, 0)
    (place / "module.py").chmod(0o664)
    monkeypatch.setattr(os, "getxattr", getxattr)
    assert (found(place) == []) is trusted


def test_the_way_to_it_counts_and_is_told_instead_of_what_lies_below(place):
    place.chmod(0o777)
    (place / "module.py").chmod(0o666)
    assert [said.partition(":")[0] for said in found(place / "module.py")] == [str(place)]
    assert [said.partition(":")[0] for said in found(place)] == [str(place)]


def test_a_link_is_followed_and_where_it_leads_counts(place, tmp_path):
    """A link may be on the way, or the thing itself, absolute or not; one in a circle leads nowhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (place / "to").symlink_to("../elsewhere")
    (place / "linked.py").symlink_to(elsewhere / "real.py")
    (elsewhere / "real.py").write_text("")
    (tmp_path / "round").symlink_to("round")
    assert found(place) == [] and found(tmp_path / "round") == []
    (elsewhere / "real.py").chmod(0o666)
    assert [said.partition(":")[0] for said in found(place)] == [str(elsewhere / "real.py")]
    elsewhere.chmod(0o777)
    for path in (place / "to" / "real.py", place / "linked.py"):
        assert [said.partition(":")[0] for said in found(path)] == [str(elsewhere)]


def test_a_linked_package_is_looked_into(place, tmp_path):
    """Python imports from behind the link, from behind one in there too, and is not held up by a circle."""
    for name in ("package", "other"):
        (tmp_path / "opt" / name).mkdir(parents=True)
        (tmp_path / "opt" / name / "__init__.py").write_text("")
    (place / "linked").symlink_to(tmp_path / "opt" / "package")
    (tmp_path / "opt" / "package" / "deeper").symlink_to("../other")
    (tmp_path / "opt" / "other" / "round").symlink_to(place)
    (tmp_path / "opt" / "other" / "nowhere").symlink_to("nowhere")
    assert found(place) == []
    for name in ("package", "other"):
        module = tmp_path / "opt" / name / "__init__.py"
        module.chmod(0o666)
        assert [said.partition(":")[0] for said in found(place)] == [str(module)]
        module.chmod(0o644)


def test_a_hidden_directory_of_a_package_is_looked_into(place):
    """Wheels keep the libraries there that their modules load (`.libs`); beside the modules there is none that is code."""
    for directory in (place / ".cache", place / "package" / ".libs"):
        directory.mkdir()
        (directory / "lib.so").write_text("")
        (directory / "lib.so").chmod(0o666)
    assert [said.partition(":")[0] for said in found(place)] == [str(place / "package" / ".libs" / "lib.so")]


def test_a_linked_package_that_others_may_write_is_told_instead_of_what_is_in_it(place, tmp_path):
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt" / "inner.py").write_text("")
    (tmp_path / "opt" / "inner.py").chmod(0o666)
    (tmp_path / "opt").chmod(0o777)
    (place / "linked").symlink_to("../opt")
    assert [said.partition(":")[0] for said in found(place)] == [str(tmp_path / "opt")]


def test_a_sticky_directory_is_passed_but_holds_no_code_and_no_gap(place, tmp_path):
    """As /tmp: what is there can't be replaced by others; what is not there can be made by them."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "ours").mkdir()
    assert found(shared / "ours") == []
    assert found(shared)[0].startswith(f"{shared}: belongs to")
    (said,) = found(shared / "python311.zip")
    assert said.startswith(f"{shared}/python311.zip: is not there, and everybody may make it ({shared}")
    assert list(planted_code.way(str(shared / "run"), WHY, may_be_made=True)) == []


def test_a_gap_where_nobody_else_can_write_is_no_harm(place):
    assert found(place / "not" / "there") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("inside", ["", "module.py", "package"])
def test_what_belongs_to_somebody_else_counts_whatever_its_mode(place, inside):
    os.chown(place / inside, 65534, -1)
    (said,) = found(place)
    assert said.startswith(f"{place / inside}: belongs to nobody and has mode 0")


def config(*changes):
    return config_loader.load("configs/demo.toml", list(changes))


def test_the_import_path_and_what_tells_root_what_to_do_are_looked_at(place, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [*sys.path, str(place / "mine")])
    monkeypatch.setenv("LD_LIBRARY_PATH", str(place / "lib"))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(place / "authorities.pem"))
    hook = place / "hook"
    hook.write_text("")
    hook.chmod(0o755)
    changed = config(
        f'alerts.command=["{hook}"]', f"sessions.order_entry.key_file={place}/key", f"sessions.drop_copy.ca_file={place}/ca"
    )  # fmt: skip
    code = planted_code.code_paths(changed)
    assert {
        sys.executable,
        str(place / "mine"),
        str(place / "lib"),
        str(hook),
        os.path.abspath("strategies"),
    } <= set(code)
    assert os.path.dirname(os.__file__) in code
    obeyed = planted_code.obeyed_paths(changed, "configs/demo.toml", str(tmp_path / "run"))
    assert set(obeyed) == {
        os.path.abspath("configs/demo.toml"), str(tmp_path / "run"), f"{place}/key", f"{place}/ca", f"{place}/authorities.pem"
    }  # fmt: skip


def test_many_are_counted_not_listed(place, monkeypatch):
    for number in range(15):
        (place / f"m{number}.py").write_text("")
        (place / f"m{number}.py").chmod(0o666)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(planted_code, "code_paths", lambda _config: [str(place)])
    monkeypatch.setattr(planted_code, "_is_ours", lambda _status: True)
    said = planted_code.problems(
        config("strategies.quote_maker.run_as=nobody"), "configs/demo.toml", str(place / "run")
    )
    assert len(said) == planted_code.TOLD_MAX + 1 and said[-1] == "and 5 more that others can change"


def test_without_run_as_nothing_is_asked_for(place, monkeypatch):
    """Under one Unix user there is nobody to plant anything."""
    place.chmod(0o777)
    monkeypatch.setattr(sys, "path", [*sys.path, str(place)])
    assert planted_code.problems(config(), "configs/demo.toml", str(place)) == []
