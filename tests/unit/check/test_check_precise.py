# SPDX-License-Identifier: GPL-2.0-or-later
"""What a build decides: functions that are not compiled, the layout of structs, what macros and typedefs hide."""

import sys

import pytest

from dmasafe.check import CheckError, check_paths

HEAD = """\
typedef unsigned char u8;
struct spi_device;
int spi_write(struct spi_device *spi, const void *buf, unsigned long len);
int spi_read(struct spi_device *spi, void *buf, unsigned long len);
"""
HIDDEN = """\
#include "head.h"
typedef u8 block[4];
#define SEND(s, x) spi_write(s, &(x), sizeof(x))
static block fixed;
int f(struct spi_device *spi)
{
	block typed;
	u8 plain = 1;
	spi_write(spi, typed, 4);
	spi_write(spi, fixed, 4);
	return SEND(spi, plain);
}
"""
CONDITIONAL = """\
#include "head.h"
#ifdef CONFIG_LEFT_OUT
int g(struct spi_device *spi)
{
	u8 v;
	return spi_write(spi, &v, 1);
}
#endif
"""
STRUCT = """\
#include "head.h"
struct s {
	void *p;
	long spare[16];
	u8 buf[4]%s;
	%s
} __attribute__((aligned(64)));
int h(struct s *s)
{
	return spi_read(0, s->buf, 4);
}
"""


@pytest.fixture
def precise(tmp_path):
    pytest.importorskip("clang.cindex")
    kdir = tmp_path / "kdir" / "drivers"
    kdir.mkdir(parents=True)
    (tmp_path / "head.h").write_text(HEAD)
    saved = "savedcmd_drivers/a.o := gcc -DL1_CACHE_BYTES=%d -std=gnu11 -c -o a.o a.c ; objtool a.o\n"

    def check(text, line=64, own=True):
        (tmp_path / "a.c").write_text(text)
        (tmp_path / ".a.o.cmd").unlink(missing_ok=True)
        place = tmp_path / ".a.o.cmd" if own else kdir / ".b.o.cmd"
        place.write_text(saved % line)
        found = check_paths([tmp_path / "a.c"], tmp_path, kdir=tmp_path / "kdir").results
        return [(one.line, one.name, one.kind, str(one.level)) for one in found], found

    return check


def test_what_macros_and_typedefs_hide_is_found(precise):
    assert precise(HIDDEN)[0] == [
        (9, "typed", "stack", "error"),
        (10, "fixed", "module-data", "error"),
        (11, "plain", "stack", "error"),
    ]


def test_what_is_not_compiled_drops_out_where_the_file_was_built(precise):
    assert precise(CONDITIONAL)[0] == []
    assert len(precise(CONDITIONAL, own=False)[0]) == 1


def test_the_layout_decides_what_shares_a_line(precise):
    (result,) = precise(STRUCT % ("", "int busy;"))[1]
    assert result.why == "buf, at bytes 136 to 139 of struct s, shares lines of 64 bytes with spare, busy"
    assert precise((STRUCT % ("", "")).replace("long spare[16]", "u8 spare[120]"))[0] == [], "nothing beside it"
    (result,) = precise((STRUCT % ("", "")).replace("aligned(64)", "aligned(8)"), line=128)[1]
    assert "can share lines of 128 bytes with spare" in result.why


def test_what_is_missing_is_a_sentence(precise, tmp_path, monkeypatch):
    with pytest.raises(CheckError, match=r"as KDIR compiles it: 'missing.h' file not found"):
        precise('#include "missing.h"\n' + HIDDEN)
    (tmp_path / ".a.o.cmd").unlink()
    with pytest.raises(CheckError, match=r"has no .o.cmd files"):
        check_paths([tmp_path / "a.c"], tmp_path, kdir=tmp_path / "kdir")
    monkeypatch.setitem(sys.modules, "clang", None)
    with pytest.raises(CheckError, match=r"pip install 'dmasafe.precise.'"):
        check_paths([tmp_path / "a.c"], tmp_path, kdir=tmp_path / "kdir")
