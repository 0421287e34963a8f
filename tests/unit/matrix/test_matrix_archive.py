# SPDX-License-Identifier: GPL-2.0-or-later
"""Archives in the store: what was packed comes back, and what could harm does not."""

import io
import tarfile

import pytest

from dmasafe.matrix.bundle import pack, unpack


def archive(**fields):
    """An archive with one member of these fields, as somebody else may have put it into the store."""
    member = tarfile.TarInfo("file")
    for name, value in fields.items():
        setattr(member, name, value)
    member.size = 3 if member.isfile() else 0
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as file:
        file.addfile(member, io.BytesIO(b"abc"))
    return data.getvalue()


def test_what_was_packed_comes_back(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    (one / "below").mkdir(parents=True)
    other.mkdir()
    (one / "a").write_bytes(b"\0\1")
    (one / "below" / "b").write_text("two")
    unpack(pack(one), other)
    assert {str(path.relative_to(other)) for path in other.rglob("*")} == {"a", "below", "below/b"}
    assert (other / "a").read_bytes() == b"\0\1" and (other / "below" / "b").read_text() == "two"


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../file"},
        {"name": "/tmp/file"},
        {"name": "a/../../file"},
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "other"},
        {"type": tarfile.CHRTYPE},
        {"type": tarfile.FIFOTYPE},
    ],
)
def test_what_could_harm_is_refused(tmp_path, fields):
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(tarfile.TarError, match="which is no file below it"):
        unpack(archive(**fields), into)
    assert [path.name for path in tmp_path.rglob("*")] == ["into"]
