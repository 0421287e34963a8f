# SPDX-License-Identifier: GPL-2.0-or-later
"""The templates filled in. Style and script stand in every page, so that its policy can name them by their hashes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from importlib import resources
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dmasafe.matrix.compare import ChangeKind
from dmasafe.matrix.history import Run
from dmasafe.matrix.site import plots
from dmasafe.matrix.site.data import CellPage, SiteData, group

GENERATOR = "dmasafe matrix report"
_SMALL = (150, 30)
_LARGE = (680, 220, 48)
_TIMES = {"boot": "boot_s", "build": "build_s", "scenarios": "scenarios_s"}


def render(data: SiteData) -> Iterator[tuple[str, str]]:
    """Every page: file name and text."""
    environment = Environment(
        loader=PackageLoader("dmasafe.matrix", "site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _own("site.css"), _own("site.js")
    environment.globals.update(
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
        generator=GENERATOR,
        data=data,
        kinds=tuple(ChangeKind),
        scenario_link=scenario_link,
        group=group,
        seconds=plots.seconds,
    )
    small = {page.id: _plots(page, data.nights, *_SMALL) for page in data.cells}
    for name in ("index", "scenarios", "splats", "detection"):
        yield f"{name}.html", environment.get_template(f"{name}.html").render(page=name)
    yield "timings.html", environment.get_template("timings.html").render(page="timings", plots=small)
    template = environment.get_template("cell.html")
    for page in data.cells:
        yield page.file, template.render(page="cell", one=page, plots=_plots(page, data.nights, *_LARGE))


def scenario_link(**chosen: object) -> str:
    """The page of scenarios with these filters, as site.js reads them."""
    return "scenarios.html#" + urlencode({key: str(value) for key, value in chosen.items()})


def _plots(page: CellPage, nights: tuple[str, ...], width: int, height: int, margin: int = 0) -> dict[str, plots.Plot]:
    return {
        what: plots.plot(what, nights, [_seconds(run, key) for run in page.runs], width, height, margin)
        for what, key in _TIMES.items()
    }


def _seconds(run: Run | None, key: str) -> float | None:
    value: float | None = getattr(run, key, None)
    return value


def _own(name: str) -> str:
    return resources.files("dmasafe.matrix.site").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    def source(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    own = f"style-src {source(style)}; script-src {source(script)}"
    return f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"
