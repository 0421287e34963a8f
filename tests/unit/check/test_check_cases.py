# SPDX-License-Identifier: GPL-2.0-or-later
"""What the checker says of each line of cases.c, and of ways of a buffer that cross files."""

import re
from pathlib import Path

import pytest

from dmasafe.check import check_files, check_paths

CASES = Path(__file__).with_name("cases.c")
_SAID = re.compile(r"/\* (error|warning|note) (\S+) \*/$")


def expected(text):
    return {
        (number, match[1], match[2])
        for number, line in enumerate(text.split("\n"), 1)
        if (match := _SAID.search(line)) is not None
    }


def found(checked, name):
    return {(one.line, str(one.level), one.kind) for one in checked.results if one.file == name}


def test_each_line_of_the_cases_is_judged_as_its_comment_says():
    checked = check_files([CASES.name], CASES.parent, {})
    assert found(checked, CASES.name) == expected(CASES.read_text())


def check(**files):
    """Check files given by name, with __ for the dot."""
    given = {name.replace("__", "."): text.encode() for name, text in files.items()}
    return check_files(sorted(given), Path("/nonexistent"), given)


CALLER = "int go(struct spi_device *spi)\n{\n\tu8 val;\n\n\treturn core_send(spi, &val, 1);\n}\n"
CORE = "int core_send(struct spi_device *spi, void *buf, int n)\n{\n\treturn spi_write(spi, buf, n);\n}\n"


def test_a_wrapper_in_another_file_leads_to_its_callers_with_each_step():
    (result,) = check(a__c=CALLER, core__c=CORE).results
    assert (result.file, result.line, result.kind, str(result.level)) == ("a.c", 5, "stack", "error")
    assert [(step.file, step.line, step.function) for step in result.steps] == [
        ("a.c", 3, "go"),
        ("a.c", 5, "go"),
        ("core.c", 3, "core_send"),
    ]
    assert result.steps[-1].code == "return spi_write(spi, buf, n);"


def test_a_static_function_of_the_same_name_in_another_file_is_no_wrapper():
    assert not check(a__c=CALLER, core__c="static " + CORE).results


def test_a_struct_that_a_header_defines_tells_an_array_from_a_pointer():
    driver = '#include "x.h"\nint f(struct x *x)\n{\n\tstruct x y;\n\treturn usb_bulk_msg(0, 0, y.buf, 1, 0, 0);\n}\n'
    assert len(check(a__c=driver, x__h="struct x {\n\tu8 buf[4];\n};\n").results) == 1
    assert not check(a__c=driver, x__h="struct x {\n\tu8 *buf;\n};\n").results


REGMAP = "int f(struct regmap *map)\n{\n\tu8 buf[4];\n\treturn regmap_raw_write(map, 1, buf, 4);\n}\n"


@pytest.mark.parametrize("bus,count", [("spi", 1), ("i2c", 0)])
def test_regmap_demands_safe_memory_on_the_buses_that_pass_it_on(bus, count):
    probe = f"int probe(struct {bus}_device *d)\n{{\n\treturn PTR_ERR(devm_regmap_init_{bus}(d, &config));\n}}\n"
    results = [one for one in check(a__c=REGMAP + probe).results if one.bus == "regmap-spi"]
    assert len(results) == count


def test_a_controller_that_maps_messages_without_asking_is_told():
    host = "static int x(struct i2c_msg *msg)\n{\n\tdma_map_single(dev, msg->buf, msg->len, 1);\n}\n"
    (result,) = check(a__c=host).results
    assert (result.rule, str(result.level)) == ("maps-unflagged", "error")
    asking = host + "static int y(struct i2c_msg *msg)\n{\n\treturn msg->flags & I2C_M_DMA_SAFE;\n}\n"
    assert not check(a__c=asking).results


def test_a_controller_that_passes_messages_to_a_bus_of_pio_is_a_note():
    host = "static int x(struct i2c_msg *msg)\n{\n\tw1_write_block(dev, msg->buf, msg->len);\n}\n"
    (result,) = check(a__c=host).results
    assert (result.rule, str(result.level)) == ("maps-unflagged", "note")


#: The members of struct s besides a pointer before them, and what is said of buf.
NEIGHBOURS = {
    "u8 buf[4] __aligned(ARCH_DMA_MINALIGN); bool done;": "warning",
    "u8 buf[4] __aligned(ARCH_DMA_MINALIGN); u8 other[4];": "",
    "u8 buf[64] __aligned(IIO_DMA_MINALIGN); bool done;": "note",
    "u8 buf[128] __aligned(IIO_DMA_MINALIGN); bool done;": "",
    "u8 buf[128] ____cacheline_aligned;": "note",
    "BEGIN(); u8 buf[4]; END(); bool done;": "",
    "BEGIN(a); u8 buf[4]; u8 other[4]; END(a);": "",
    "BEGIN(); u8 buf[4]; bool done; END();": "warning",
    "BEGIN(); u8 buf[4]; struct mutex lock; END();": "warning",
    "BEGIN(); u8 buf[4]; bool done;": "warning",
    "BEGIN(); u8 other[4]; END(); u8 buf[4]; void *behind;": "warning",
}


@pytest.mark.parametrize("members", NEIGHBOURS)
def test_what_shares_the_lines_of_a_buffer_is_told(members):
    text = members.replace("BEGIN", "__dma_from_device_group_begin").replace("END", "__dma_from_device_group_end")
    struct = "struct s {\n\tvoid *p;\n\t" + text.replace("; ", ";\n\t") + "\n};\n"
    results = check(a__c=struct + "int f(struct s *s)\n{\n\treturn spi_read(s->spi, s->buf, 4);\n}\n").results
    assert [(one.rule, str(one.level)) for one in results] == (
        [("shared-line", NEIGHBOURS[members])] if NEIGHBOURS[members] else []
    )


@pytest.mark.parametrize("direction,level", [("DMA_TO_DEVICE", "note"), ("DMA_FROM_DEVICE", "warning")])
def test_what_the_device_only_reads_loses_nothing_by_its_neighbours(direction, level):
    text = "struct s {\n\tvoid *p;\n\tu8 buf[4];\n};\nint f(struct s *s)\n{\n\tdma_map_single(0, s->buf, 4, %s);\n}\n"
    (result,) = check(a__c=text % direction).results
    assert (result.rule, str(result.level)) == ("shared-line", level)


def test_a_sink_counts_in_the_versions_that_have_it(tmp_path):
    (tmp_path / "include/linux").mkdir(parents=True)
    driver = tmp_path / "a.c"
    driver.write_text("int f(struct pci_dev *dev)\n{\n\tu8 v;\n\treturn pci_map_single(dev, &v, 1, 1);\n}\n")
    counts = []
    for minor in (17, 18):
        (tmp_path / "Makefile").write_text(f"VERSION = 5\nPATCHLEVEL = {minor}\nSUBLEVEL = 0\n")
        counts.append(len(check_paths([driver], tmp_path).results))
    assert counts == [1, 0]


def test_the_cache_gives_the_same_results_and_sees_what_changed(tmp_path):
    (tmp_path / "a.c").write_text(CALLER)
    (tmp_path / "core.c").write_text(CORE)
    runs = [check_paths([tmp_path], tmp_path, tmp_path / "cache") for _ in range(2)]
    assert runs[0].results == runs[1].results and len(runs[0].results) == 1
    assert runs[0].pieces and not runs[1].pieces
    (tmp_path / "core.c").write_text(CORE.replace("spi_write", "copies"))
    assert not check_paths([tmp_path], tmp_path, tmp_path / "cache").results


#: What send() does with a struct that it does not know is another thing than what it does with a driver's state.
STATE = {
    "a.c": '#include "x.h"\nint send(struct state *s)\n{\n\treturn spi_write(s->spi, s->buf, 4);\n}\n',
    "b.c": '#include "x.h"\nint f(void)\n{\n\tstruct state s;\n\tu8 v;\n\ts.buf = &v;\n\treturn send(&s);\n}\n',
    "x.h": "struct state {\n\tstruct mutex lock;\n\tu8 *buf;\n};\n",
}


def written(directory, files):
    for name, text in files.items():
        (directory / name).write_text(text)


def test_a_struct_that_is_read_after_its_users_counts_as_if_it_had_been_there(tmp_path):
    written(tmp_path, STATE)
    runs = [check_paths([tmp_path], tmp_path, tmp_path / "cache").results for _ in range(2)]
    assert runs == [(), ()]
    written(tmp_path, {"x.h": STATE["x.h"].replace("struct mutex lock", "int lock")})
    (result,) = check_paths([tmp_path], tmp_path).results
    assert (result.file, result.line, result.kind) == ("b.c", 7, "stack")


def test_what_was_kept_of_a_tree_that_changed_says_nothing_of_it(tmp_path):
    """While core_send() was a wrapper, get() was read, for it calls it: nobody would read it now."""
    get = "static u8 table[4];\nu8 *get(void)\n{\n\tcore_send(0, 0, 0);\n\treturn table;\n}\n"
    use = "int use(struct spi_device *spi)\n{\n\treturn spi_write(spi, get(), 4);\n}\n"
    written(tmp_path, {"core.c": CORE, "get.c": get, "use.c": use})
    (result,) = check_paths([tmp_path], tmp_path, tmp_path / "cache").results
    assert (result.file, result.name) == ("use.c", "table")
    written(tmp_path, {"core.c": CORE.replace("spi_write", "copies")})
    kept = check_paths([tmp_path], tmp_path, tmp_path / "cache")
    assert kept.results == check_paths([tmp_path], tmp_path).results == () and kept.pieces == 0


def test_the_order_of_files_changes_nothing():
    """Either header could be meant: whichever it is, it is the same one each time."""
    header = "struct x { u8 %sbuf[4]; };\nstatic inline int %s(void)\n{\n\treturn spi_write(0, 0, 0);\n}\n"
    user = "int f(struct spi_device *spi)\n{\n\tstruct x y;\n\treturn spi_write(spi, y.buf, 4);\n}\n"
    texts = {"p.h": header % ("", "p"), "q.h": (header % ("*", "q")).replace("[4]", ""), "user.c": user}
    given = {name: text.encode() for name, text in texts.items()}
    runs = [check_files(names, Path("/nonexistent"), given).results for names in (list(given), list(given)[::-1])]
    assert runs[0] == runs[1] and len(runs[0]) == 1


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\0\xff" * 99, b"}" * 999 + b"spi_write(", b"#if 1\nint f() { spi_write(a, &b, 1);\n",
        b"spi_write " + b"(" * 5000,
    ],
    ids=["empty", "bytes", "braces", "unbalanced", "parentheses"],
)  # fmt: skip
def test_any_bytes_are_read(text):
    assert check_files(["a.c"], Path("/nonexistent"), {"a.c": text}).files == 1
