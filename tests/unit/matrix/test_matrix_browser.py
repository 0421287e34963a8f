# SPDX-License-Identifier: GPL-2.0-or-later
"""The site in a real browser, from file: URLs, without a network."""

import os
import shutil
import socket
from pathlib import Path

import pytest
from matrix_samples import RECEIVE, SEND, history_of
from matrix_site import HOSTILE, runs, troubled

from dmasafe.matrix import site
from dmasafe.matrix.database import open_history

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGES = ("index.html", "scenarios.html", "splats.html", "timings.html", "detection.html")
CELL = "linux-source-6.12 x86_64 default"


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    # Chromium's sandbox does not start as root.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield found
        found.close()


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    place = tmp_path_factory.mktemp("site")
    with open_history(str(place / "history"), create=True) as database, history_of(database, *runs()) as history:
        site.write(history, place / "site")
    return place / "site"


@pytest.fixture
def open_page(browser, directory):
    """Opens a page in a context of its own; at the end no page may have complained or asked for anything but files."""
    contexts, troubles = [], []

    def opened(name, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: request.url.startswith("file:") or troubles.append(request.url))
        page.goto(f"file://{directory}/{name}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def cell_page(directory):
    """The page of the cell in which SEND fails."""
    return next(path.name for path in sorted(directory.glob("cell-*.html")) if "guilty" in path.read_text())


def visible_rows(page, selector):
    return [row for row in page.locator(selector).all() if row.is_visible()]


def test_no_page_complains_or_asks_for_anything(open_page, directory):
    for path in sorted(directory.iterdir()):
        page = open_page(path.name)
        assert page.locator("h1").count() == 1
        page.close()


def test_the_heat_map_is_filtered_by_name_and_by_trouble(open_page):
    page = open_page("index.html")
    assert len(visible_rows(page, ".heat tbody tr")) == 4
    page.get_by_label("Cell contains").fill("x86_64 kasan")
    assert len(visible_rows(page, ".heat tbody tr")) == 1
    assert page.locator("#heat-count").text_content() == "1 cells"
    page.get_by_label("Cell contains").fill("")
    page.get_by_label("only cells with trouble").check()
    assert [row.get_attribute("data-name") for row in visible_rows(page, ".heat tbody tr")] == [CELL]
    page.get_by_label("Columns").select_option("operation")
    assert page.locator(".heat:visible thead").get_by_text("master_send", exact=True).is_visible()


def test_only_trouble_leaves_no_column_without_it(look):
    page = look("index.html")
    headings = page.locator(".heat:visible thead th")
    everything = headings.count()
    page.get_by_label("only cells with trouble").check()
    left = [one.text_content() for one in headings.all() if one.is_visible()]
    assert [one for one in left if one not in ("cell", "agreement")] == ["stack", "vmalloc"] and everything > 4
    assert all(field.is_visible() for field in page.locator(".heat:visible td.fail").all())
    assert not [one for one in page.locator(".heat:visible td.pass").all() if one.is_visible()]
    page.locator(".heat:visible td.fail a").last.press("ArrowRight")
    assert page.evaluate("document.activeElement.checkVisibility()")
    page.get_by_label("only cells with trouble").uncheck()
    assert len([one for one in headings.all() if one.is_visible()]) >= everything - 1


def test_a_field_of_the_heat_map_leads_to_its_scenarios(open_page):
    page = open_page("index.html")
    page.locator(".heat:visible td.fail a").first.click()
    page.wait_for_url("**/scenarios.html#*")
    assert page.locator("#found tr").count() == 2
    assert page.locator("#found td.fail").text_content() == "1"
    page.locator("#found").get_by_text(SEND).click()
    rows = page.locator("#history-rows tr")
    rows.first.wait_for()
    assert rows.count() == 1
    assert rows.locator(".strip").text_content() == "PPPPF"
    assert rows.locator(".strip").get_attribute("aria-label") == "4 PASS, 1 FAIL"


def test_scenarios_are_filtered_and_the_address_keeps_the_filter(open_page):
    page = open_page("scenarios.html")
    page.get_by_label("Verdict").select_option("CHANGED")
    assert {page.locator("#found th").nth(n).text_content() for n in range(2)} == {SEND, RECEIVE}
    page.get_by_label("Scenario contains").fill("recv")
    assert page.locator("#count").text_content() == "1 scenarios"
    page.reload()
    assert page.locator("#count").text_content() == "1 scenarios"
    assert page.get_by_label("Verdict").input_value() == "CHANGED"
    page.get_by_label("Scenario contains").fill("nothing like it")
    assert page.locator("#found tr").count() == 0


def test_splats_timings_and_faults_are_filtered(open_page):
    page = open_page("splats.html")
    assert len(visible_rows(page, "article")) == 4
    page.get_by_label("Splat or cell contains").fill("guilty")
    assert page.locator("#splat-count").text_content() == "1 splats"
    assert len(visible_rows(page, "#splat-index tbody tr")) == 1
    page = open_page("timings.html")
    page.get_by_label("Cell contains").fill("debug-sg")
    assert len(visible_rows(page, "#timings tbody tr")) == 1
    page = open_page("detection.html")
    page.get_by_label("Mistake contains").fill("map-stack")
    shown = visible_rows(page, "#faults tbody tr")
    assert 0 < len(shown) < page.locator("#faults tbody tr").count()
    assert len(visible_rows(page, "#faults section")) <= len(shown)


def test_markup_in_a_log_is_shown_as_text_and_never_runs(open_page, directory):
    page = open_page(cell_page(directory))
    page.get_by_text("the kernel's report").click()
    assert HOSTILE in page.locator("pre").text_content()
    for name in ("splats.html", f"scenarios.html#scenario={SEND}"):
        page = open_page(name)
        assert "window.pwned" in page.locator("main").text_content()
        assert page.evaluate("window.pwned") is None


def test_the_policy_keeps_out_what_is_not_the_sites_own(browser, directory):
    page = browser.new_page()
    page.goto(f"file://{directory}/index.html")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/leak"
        answer = page.evaluate(
            """async (url) => {
                const script = document.createElement("script");
                script.textContent = "window.pwned = 1";
                document.body.append(script);
                const image = document.createElement("img");
                const failed = new Promise((done) => { image.onerror = done; });
                image.src = url;
                document.body.append(image);
                await failed;
                return fetch(url).then(() => "sent", () => "refused");
            }""",
            url,
        )
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert answer == "refused"
    assert page.evaluate("window.pwned") is None
    page.close()


def focused(page):
    return page.evaluate("(document.activeElement.innerText || document.activeElement.id || '').trim()")


def test_the_keyboard_alone_is_enough(open_page):
    page = open_page("index.html")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    assert page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2
    assert page.locator(".skip").bounding_box()["x"] >= 0
    order = []
    for _ in range(12):
        page.keyboard.press("Tab")
        order.append(focused(page))
    assert order[:6] == ["Matrix", "Scenarios", "Splats", "Timings", "Detection", "Dark"]
    assert order[6] == "heat-text" and "heat-trouble" in order
    # One stop for a whole heat map, arrows inside of it.
    page.locator(".heat:visible td a").first.focus()
    start = focused(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    assert focused(page) == start
    assert page.locator(".heat:visible td a[tabindex='0']").count() == 1
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/scenarios.html#cell=*")
    assert page.locator("select[name=cell]").input_value()


def test_the_history_of_a_scenario_is_reached_and_announced_by_keyboard(open_page):
    page = open_page("scenarios.html")
    link = page.locator("#found a").first
    link.focus()
    name = link.text_content()
    page.keyboard.press("Enter")
    page.locator("#history").wait_for()
    assert focused(page) == name


def test_a_phone_does_not_scroll_sideways(open_page, directory):
    names = [*PAGES, cell_page(directory), f"scenarios.html#scenario={SEND}"]
    for name in names:
        page = open_page(name, viewport={"width": 360, "height": 740}, device_scale_factor=2)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, (name, wide)
        # What is wide scrolls by itself, and can be reached to do so.
        for region in page.locator(".scroll:visible").all():
            assert region.get_attribute("tabindex") == "0" and region.get_attribute("aria-label")
        page.close()


def ground(page):
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) / 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light_follow_the_system_until_told_otherwise(open_page, directory, scheme):
    page = open_page("index.html", color_scheme=scheme)
    assert (ground(page) < 128) is (scheme == "dark")
    button, other = page.locator("#theme"), {"light": "Dark", "dark": "Light"}
    assert button.text_content() == other[scheme]
    button.click()
    assert (ground(page) < 128) is (scheme == "light")
    assert button.text_content() == scheme.capitalize()
    page.goto(f"file://{directory}/splats.html")
    assert (ground(page) < 128) is (scheme == "light")


_CONTRAST = """() => {
    const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => numbers(colour).slice(0, 3).map(channel)
        .reduce((sum, value, n) => sum + value * [0.2126, 0.7152, 0.0722][n], 0);
    const ground = (element) => {
        for (; element; element = element.parentElement) {
            const colour = numbers(getComputedStyle(element).backgroundColor);
            if (colour.length < 4 || colour[3] > 0) return getComputedStyle(element).backgroundColor;
        }
        return "rgb(255, 255, 255)";
    };
    const bad = [];
    for (const element of document.querySelectorAll("main *, header *, footer")) {
        const own = Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !element.checkVisibility() || element.closest("svg")) continue;
        const pair = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
        const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
        if (ratio < 4.5) bad.push([element.tagName, element.className, ratio.toFixed(2)]);
    }
    return bad;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(open_page, directory, scheme):
    for name in (*PAGES, cell_page(directory), f"scenarios.html#scenario={SEND}"):
        page = open_page(name, color_scheme=scheme)
        assert page.evaluate(_CONTRAST) == [], name
        page.close()


def test_tables_say_what_their_cells_belong_to(open_page, directory):
    for name in (*PAGES, cell_page(directory)):
        page = open_page(name)
        for table in page.locator("table").all():
            assert table.locator("thead th[scope=col]").count() > 1
            assert table.locator("tbody tr").count() == table.locator("tbody th[scope=row]").count()
        unnamed = page.evaluate(
            "Array.from(document.querySelectorAll('input, select')).filter((one) => !one.labels.length).length"
        )
        assert unnamed == 0
        page.close()


def test_without_javascript_the_tables_are_there(open_page):
    page = open_page("index.html", java_script_enabled=False)
    assert page.locator(".heat").count() == 3
    assert page.locator(".heat").nth(2).is_visible()
    assert not page.get_by_label("Cell contains").is_visible()
    page = open_page("scenarios.html", java_script_enabled=False)
    assert page.get_by_text("Searching needs JavaScript").is_visible()
    assert page.locator("#without-script li").filter(has_text=SEND).get_by_text("FAIL").is_visible()
    assert not page.get_by_text("Found:").is_visible()
    for name in ("splats.html", "timings.html", "detection.html"):
        page = open_page(name, java_script_enabled=False)
        assert page.locator("tbody tr").first.is_visible()


def test_the_site_works_wherever_it_lies(browser, directory, tmp_path):
    moved = tmp_path / "a folder with spaces & ümlaut"
    shutil.copytree(directory, moved)
    page = browser.new_page()
    page.goto(Path(moved / "index.html").as_uri())
    page.get_by_role("link", name="Scenarios").click()
    assert page.locator("#found tr").count() > 1
    page.close()


# ---- what is seen at once, at the sizes of a phone and two screens

SIZES = {"phone": (390, 844), "laptop": (1280, 800), "screen": (1920, 1080)}
_SEEN = """(element) => {
    const box = element.getBoundingClientRect();
    const inside = box.left >= 0 && box.top >= 0 && box.right <= innerWidth && box.bottom <= innerHeight;
    // Nothing lies over its middle.
    const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    return inside && box.width > 0 && (element.contains(top) || Boolean(top && top.contains(element)));
}"""


@pytest.fixture(scope="module")
def troubled_directory(tmp_path_factory):
    place = tmp_path_factory.mktemp("troubled")
    with open_history(str(place / "history"), create=True) as database, history_of(database, *troubled()) as history:
        site.write(history, place / "site")
    return place / "site"


@pytest.fixture(params=[(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join)
def look(request, open_page, troubled_directory):
    """Opens a page of the troubled site at this size and in this theme."""
    size, scheme = request.param
    width, height = SIZES[size]

    def opened(name, **options):
        viewport = {"width": width, "height": height}
        page = open_page("index.html", viewport=viewport, color_scheme=scheme, **options)
        page.goto(f"file://{troubled_directory}/{name}")
        return page

    opened.size = size
    return opened


def seen(locator):
    return [one for one in locator.all() if one.evaluate(_SEEN)]


def test_48_failures_are_on_the_first_screen(look):
    for script in (True, False):
        page = look("index.html", java_script_enabled=script)
        fields = seen(page.locator(".heat").first.locator("td.fail a"))
        assert [one.text_content() for one in fields] == ["24 FAIL", "24 FAIL"]
        assert [one.get_attribute("aria-label").partition(":")[0] for one in fields] == ["stack", "vmalloc"]
        (count,) = seen(page.locator(".figures strong.fail"))
        assert count.text_content() == "48"
        row = page.locator(".heat").first.locator("tbody tr").first
        assert row.get_attribute("data-name").endswith("zz-last") and seen(row.locator("th a"))
        heads = page.locator(".heat").first.locator("thead th").all_text_contents()
        assert heads[2:4] == ["stack", "vmalloc"] and heads[4:] == sorted(heads[4:])


def test_the_products_name_and_all_pages_are_in_one_line(look):
    page = look("index.html")
    assert seen(page.locator(".brand"))[0].text_content() == "dmasafe"
    links = seen(page.locator("nav a"))
    assert len(links) == len(PAGES)
    assert len({round(one.bounding_box()["y"]) for one in links}) == 1
    assert len(seen(page.locator("#theme"))) == 1


def test_what_scrolls_fades_and_keeps_its_first_column(look):
    page = look("index.html")
    box = page.locator(".heat-scroll:visible")
    wide = box.evaluate("(box) => box.scrollWidth > box.clientWidth + 1")
    assert wide is (look.size != "screen")
    assert box.evaluate("(box) => getComputedStyle(box).maskImage !== 'none'") is wide
    if wide:
        box.evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
        # Not by wait_for_function(), whose polling the page's own policy forbids.
        page.locator(".heat-scroll:not(.more):visible").wait_for()
        assert seen(page.locator(".heat:visible tbody th a").first)
        assert not seen(page.locator(".heat:visible td.fail a").first)


def test_the_page_uses_the_width(look):
    page = look("index.html")
    box = page.locator(".heat-scroll:visible").bounding_box()
    assert box["width"] >= 0.9 * SIZES[look.size][0]


def test_a_reason_has_room(look, troubled_directory):
    page = look(cell_page(troubled_directory))
    assert page.locator("td.why").first.bounding_box()["width"] >= 220
    if look.size == "phone":
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["phone"][0]
        assert page.locator("td.why").first.bounding_box()["width"] >= 330


def test_new_splats_come_first_and_stacks_are_folded(look):
    page = look("splats.html")
    first = page.locator("#splat-index tbody tr").first
    assert "guilty" in first.text_content() and first.locator(".badge").text_content() == "new"
    assert seen(first.locator("a"))
    assert not any(pre.is_visible() for pre in page.locator("article pre").all())
    first.locator("a").click()
    page.get_by_text("the report").first.click()
    assert page.locator("article pre").first.is_visible()


def test_timings_mark_what_the_index_calls_slower(look):
    page = look("timings.html")
    row = page.locator("#timings tbody tr").first
    assert row.get_attribute("data-name").endswith("zz-last")
    assert row.locator("td.fail").text_content() == "4.50 slower"
    assert page.locator("#timings td.fail").count() == 1
    assert seen(row.locator("th a"))


def test_detection_begins_with_what_nobody_notices(look):
    page = look("detection.html")
    titles = page.locator("#faults h2").all_text_contents()
    assert [title.partition(":")[0] for title in titles] == ["Nobody notices", "The kernel's log reports it"]
    assert seen(page.locator("#faults h2").first)
    assert page.locator("#faults section").first.locator("td.fail").count() == int(titles[0].partition(":")[2])
