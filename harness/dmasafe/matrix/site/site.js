/* SPDX-License-Identifier: GPL-2.0-or-later */
// Everything here puts text in as text; nothing is ever parsed as markup.
"use strict";
(function () {
  const MOST_ROWS = 200;
  const TROUBLE = ["fail", "unsaid"];
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function remembered() {
    // A file: page may have no storage.
    try { return localStorage.getItem("dmasafe-theme"); } catch (error) { return null; }
  }

  function remember(theme) {
    try { localStorage.setItem("dmasafe-theme", theme); } catch (error) { /* then it lasts for this page */ }
  }

  const chosen = remembered();
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;

  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
  }

  function themeButton() {
    const button = document.getElementById("theme");
    // It says what it makes of the page.
    const show = () => {
      button.textContent = isDark() ? "Light" : "Dark";
      button.setAttribute("aria-label", button.textContent + " theme");
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      remember(root.dataset.theme);
      show();
    });
    dark.addEventListener("change", show);
    show();
  }

  // Marks boxes that hold more at the right than is seen; the style sheet fades them there.
  function fades() {
    const boxes = Array.from(document.querySelectorAll(".scroll"));
    const mark = (box) => {
      box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
    };
    const watch = new ResizeObserver((entries) => { for (const entry of entries) mark(entry.target.closest(".scroll")); });
    for (const box of boxes) {
      box.addEventListener("scroll", () => mark(box), { passive: true });
      watch.observe(box);
      watch.observe(box.firstElementChild);
    }
  }

  function make(tag, text, className) {
    const found = document.createElement(tag);
    if (text !== undefined) found.textContent = text;
    if (className) found.className = className;
    return found;
  }

  function contains(text, words) {
    const lower = text.toLowerCase();
    return words.toLowerCase().split(/\s+/).every((word) => lower.includes(word));
  }

  // Hides what does not match and says how much is left.
  function filter(formId, items, matches, countId, noun, after) {
    const form = document.getElementById(formId);
    if (!form) return;
    const apply = () => {
      let shown = 0;
      for (const item of items()) {
        item.hidden = !matches(item);
        if (!item.hidden) shown += 1;
      }
      document.getElementById(countId).textContent = shown + " " + noun;
      if (after) after();
    };
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", apply);
    apply();
  }

  function value(id) { return document.getElementById(id).value; }
  function checked(id) { return document.getElementById(id).checked; }

  function heatMap() {
    const maps = Array.from(document.querySelectorAll(".heat-scroll"));
    if (!maps.length) return;
    const choose = () => {
      for (const map of maps) map.hidden = map.dataset.columns !== value("heat-columns");
    };
    document.getElementById("heat-columns").addEventListener("input", choose);
    choose();
    const shownRows = () => Array.from(maps.find((map) => !map.hidden).querySelectorAll("tbody tr"));
    filter("heat-filter", shownRows, (row) => contains(row.dataset.name, value("heat-text")) &&
      (!checked("heat-trouble") || TROUBLE.includes(row.dataset.state)), "heat-count", "cells", columns);
    for (const map of maps) arrows(map);
  }

  // Where only trouble is asked for, columns without any go too; the first two say which cell it is, and how much agrees.
  function columns() {
    for (const map of document.querySelectorAll(".heat-scroll:not([hidden])")) {
      const rows = Array.from(map.querySelectorAll("tbody tr:not([hidden])"));
      Array.from(map.querySelectorAll("thead th")).forEach((heading, number) => {
        heading.hidden = number > 1 && checked("heat-trouble") &&
          !rows.some((row) => TROUBLE.some((state) => row.cells[number].classList.contains(state)));
        for (const row of map.querySelectorAll("tbody tr")) row.cells[number].hidden = heading.hidden;
      });
    }
  }

  // One field of a heat map is in the tab order; the arrow keys go to the others.
  function arrows(map) {
    const links = Array.from(map.querySelectorAll("td a"));
    links.forEach((link, number) => { link.tabIndex = number ? -1 : 0; });
    map.addEventListener("keydown", (event) => {
      const link = event.target.closest("td a");
      const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      if (!link || !(event.key in steps)) return;
      const [down, right] = steps[event.key];
      const next = neighbour(link.closest("td"), down, right);
      event.preventDefault();
      if (next) { link.tabIndex = -1; next.tabIndex = 0; next.focus(); }
    });
  }

  function neighbour(field, down, right) {
    let row = field.parentElement;
    let column = field.cellIndex;
    for (;;) {
      if (down) {
        row = down > 0 ? row.nextElementSibling : row.previousElementSibling;
        if (!row) return null;
        if (row.hidden) continue;
      } else {
        column += right;
        if (column < 0 || column >= row.cells.length) return null;
      }
      if (row.cells[column].hidden) continue;
      const link = row.cells[column].tagName === "TD" && row.cells[column].querySelector("a");
      if (link) return link;
    }
  }

  function otherFilters() {
    filter("splat-filter", () => document.querySelectorAll("article"), (splat) => {
      const wanted = contains(splat.textContent, value("splat-text")) &&
        (!checked("splat-new") || splat.dataset.new === "yes");
      document.getElementById("to-" + splat.id).hidden = !wanted;
      return wanted;
    }, "splat-count", "splats");
    filter("timing-filter", () => document.querySelectorAll("#timings tbody tr"),
      (row) => contains(row.dataset.name, value("timing-text")), "timing-count", "cells");
    const sections = document.querySelectorAll("#faults section");
    filter("fault-filter", () => document.querySelectorAll("#faults tbody tr"),
      (row) => contains(row.dataset.name, value("fault-text")), "fault-count", "rows", () => {
        for (const section of sections) section.hidden = !section.querySelector("tbody tr:not([hidden])");
      });
  }

  // The form of this data is described where it is made: harness/dmasafe/matrix/site/data.py.
  function unpack(data) {
    const vectors = [];
    for (const coded of data.vectors) {
      if ("base" in coded) {
        const base = vectors[coded.base];
        const findings = base.findings.slice();
        for (let i = 0; i < coded.changes.length; i += 2) findings[coded.changes[i]] = coded.changes[i + 1];
        vectors.push({ set: base.set, findings: findings });
        continue;
      }
      const findings = new Int32Array(data.sets[coded.set].length);
      let place = 0;
      for (let i = 0; i < coded.runs.length; i += 2) {
        findings.fill(coded.runs[i], place, place + coded.runs[i + 1]);
        place += coded.runs[i + 1];
      }
      vectors.push({ set: coded.set, findings: findings });
    }
    const places = data.sets.map((members) => {
      const found = new Int32Array(data.scenarios.length).fill(-1);
      members.forEach((scenario, place) => { found[scenario] = place; });
      return found;
    });
    // The number of a finding, -1 where the night has none.
    return (cell, night, scenario) => {
      const vector = vectors[data.grid[cell][night]];
      const place = vector ? places[vector.set][scenario] : -1;
      return place < 0 ? -1 : vector.findings[place];
    };
  }

  const STATES = { PASS: "pass", FAIL: "fail", SKIP: "skip-state", INCONCLUSIVE: "unsaid", ERROR: "unsaid" };
  const KEYS = ["text", "cell", "verdict", "buffer", "operation", "place"];
  const FIELDS = { buffer: 1, operation: 2, place: 3 };

  function scenarios() {
    const holder = document.getElementById("data");
    if (!holder) return;
    const data = JSON.parse(holder.textContent);
    const finding = unpack(data);
    const form = document.getElementById("find");
    const last = data.grid.map((row) => row.reduce((newest, vector, night) => (vector === null ? newest : night), 0));

    function add(name, entries) {
      for (const [key, text] of entries) {
        const option = make("option", text);
        option.value = key;
        form.elements[name].append(option);
      }
    }

    add("cell", data.cells.map((cell) => [cell.id, cell.name]));
    for (const [name, field] of Object.entries(FIELDS)) {
      add(name, Array.from(new Set(data.scenarios.map((row) => row[field]))).sort().map((text) => [text, text]));
    }

    function chosenCells() {
      const numbers = data.cells.map((cell, number) => number);
      const id = form.elements.cell.value;
      return id ? numbers.filter((number) => String(data.cells[number].id) === id) : numbers;
    }

    function tally(cells, scenario) {
      const found = { PASS: 0, FAIL: 0, UNSAID: 0, SKIP: 0, CHANGED: 0 };
      for (const cell of cells) {
        const newest = finding(cell, last[cell], scenario);
        if (newest < 0) continue;
        const verdict = data.findings[newest][0];
        found[verdict === "INCONCLUSIVE" || verdict === "ERROR" ? "UNSAID" : verdict] += 1;
        for (let night = 0; night < data.nights.length; night += 1) {
          const then = finding(cell, night, scenario);
          if (then >= 0 && data.findings[then][0] !== verdict) { found.CHANGED += 1; break; }
        }
      }
      return found;
    }

    function link(scenario) {
      const there = new URLSearchParams(location.hash.slice(1));
      there.set("scenario", data.scenarios[scenario][0]);
      const anchor = make("a", data.scenarios[scenario][0], "id");
      anchor.href = "#" + there.toString();
      return anchor;
    }

    function search() {
      const cells = chosenCells();
      const rows = [];
      let count = 0;
      data.scenarios.forEach((row, scenario) => {
        if (!contains(row[0], form.elements.text.value)) return;
        for (const [name, field] of Object.entries(FIELDS)) {
          const wanted = form.elements[name].value;
          if (wanted && row[field] !== wanted) return;
        }
        const found = tally(cells, scenario);
        const verdict = form.elements.verdict.value;
        if (verdict ? !found[verdict] : !(found.PASS + found.FAIL + found.UNSAID + found.SKIP)) return;
        count += 1;
        if (rows.length < MOST_ROWS) rows.push([scenario, found]);
      });
      rows.sort((a, b) => b[1].FAIL - a[1].FAIL || b[1].UNSAID - a[1].UNSAID);
      document.getElementById("found").replaceChildren(...rows.map(([scenario, found]) => {
        const line = make("tr");
        const name = make("th", undefined, "wide");
        name.scope = "row";
        name.append(link(scenario));
        line.append(name, make("td", found.PASS, "number"), make("td", found.FAIL, found.FAIL ? "number fail" : "number"),
          make("td", found.UNSAID, found.UNSAID ? "number unsaid" : "number"), make("td", found.SKIP, "number"),
          make("td", found.CHANGED, "number"));
        return line;
      }));
      document.getElementById("count").textContent = count + " scenarios" +
        (count > rows.length ? ", the first " + rows.length + " are shown" : "");
    }

    function strip(cell, scenario) {
      const field = make("td", undefined, "strip");
      const counts = {};
      const image = make("span");
      image.className = "nights";
      data.nights.forEach((night, number) => {
        const id = finding(cell, number, scenario);
        const verdict = id < 0 ? "not run" : data.findings[id][0];
        counts[verdict] = (counts[verdict] || 0) + 1;
        const letter = make("span", id < 0 ? "-" : verdict[0], id < 0 ? "none" : STATES[verdict]);
        letter.title = night + ": " + verdict;
        letter.setAttribute("aria-hidden", "true");
        field.append(letter);
      });
      field.setAttribute("aria-label", Object.entries(counts).map(([verdict, count]) => count + " " + verdict).join(", "));
      return field;
    }

    function history(name) {
      const section = document.getElementById("history");
      const scenario = data.scenarios.findIndex((row) => row[0] === name);
      section.hidden = !name;
      if (!name) return;
      document.getElementById("history-title").textContent = name;
      const cells = scenario < 0 ? [] : chosenCells().filter((cell) => finding(cell, last[cell], scenario) >= 0);
      document.getElementById("history-told").textContent = cells.length ?
        data.nights[0] + " to " + data.nights[data.nights.length - 1] : "No cell that is chosen has it in these nights.";
      document.getElementById("history-rows").replaceChildren(...cells.map((cell) => {
        const newest = data.findings[finding(cell, last[cell], scenario)];
        const line = make("tr");
        const head = make("th");
        head.scope = "row";
        const anchor = make("a", data.cells[cell].name);
        anchor.href = data.cells[cell].file;
        head.append(anchor);
        const verdict = make("td");
        verdict.append(make("span", newest[0], "badge " + STATES[newest[0]]));
        if (newest[1]) verdict.append(" " + newest[1] + (newest[2] && newest[2] !== newest[1] ? ", expected " + newest[2] : ""));
        const why = make("td", newest[4], "wide why");
        why.dataset.label = "why";
        if (newest[3].length) why.append(make("br"), make("span", newest[3].join(", "), "id"));
        line.append(head, verdict, strip(cell, scenario), why);
        return line;
      }));
    }

    function fromHash(moveFocus) {
      const there = new URLSearchParams(location.hash.slice(1));
      for (const key of KEYS) form.elements[key].value = there.get(key) || "";
      search();
      history(there.get("scenario") || "");
      if (moveFocus && there.get("scenario")) document.getElementById("history-title").focus();
    }

    let ours = "";
    document.getElementById("without-script").hidden = true;
    form.hidden = false;
    document.getElementById("search").hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      const there = new URLSearchParams(location.hash.slice(1));
      for (const key of KEYS) {
        if (form.elements[key].value) there.set(key, form.elements[key].value); else there.delete(key);
      }
      ours = "#" + there.toString();
      location.replace(ours);
      search();
      history(there.get("scenario") || "");
    });
    window.addEventListener("hashchange", () => { if (location.hash !== ours) fromHash(true); });
    fromHash(false);
  }

  document.addEventListener("DOMContentLoaded", () => {
    themeButton();
    fades();
    heatMap();
    otherFilters();
    scenarios();
  });
})();
