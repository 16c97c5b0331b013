"""One HTML page of a benchmark's results, which needs no other file, no network and no framework.

The tables are written here, ready to read and to print; the page's script only sorts them, switches the metric
and drives the viewer of pictures. Everything that comes from files is escaped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from blindsr.atomic import whole_file
from blindsr.evaluation.cases import case_name
from blindsr.evaluation.report_pictures import collect
from blindsr.evaluation.report_tables import Metric, by_set, find_metrics, find_sections, order_methods, safe, table
from blindsr.evaluation.worker import file_name


def write_report(out: Path, about: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``out/report.html`` of ``cells``, the lines that the tables are made of too.

    ``about`` is what ``protocol.json`` holds. Of ``out/pictures`` those of the cells are shown, and no others.
    """
    cells = _tidy(cells, by_set(about))
    metrics = find_metrics(about, cells)
    sections = find_sections(about, cells)
    entries = _entries(cells, metrics)
    pictures = collect(out / "pictures", entries, {file_name(c["method"]): c["method"] for c in cells})
    facts = {
        "Date": about.get("date"),
        "Version": about.get("version"),
        "Model": about.get("model"),
        "Images": len({(c["set"], c["image"]) for c in cells}),
        "Methods": len({c["method"] for c in cells}),
    }
    limited = f"Of each set only the first images, at most {about.get('limit')}"
    limited += "; published numbers are of all." if about.get("published") else "."
    links = [(f"table-{n}", section.title) for n, section in enumerate(sections, 1)]
    links += [("viewer", "Pictures")] if pictures["entries"] else []
    page = Template(_resource("page.html")).substitute(
        title=safe(about.get("name") or "Benchmark"),
        css=_resource("page.css"),
        js=_resource("page.js"),
        description="".join(f"<p>{safe(p)}</p>" for p in (about.get("description") or "").split("\n\n") if p.strip()),
        facts="".join(f"<div><dt>{name}</dt><dd>{safe(fact)}</dd></div>" for name, fact in facts.items() if fact),
        command=f"<pre><code>{safe(about['command'])}</code></pre>" if about.get("command") else "",
        limit=f'<p class="warning">{safe(limited)}</p>' if about.get("limit") else "",
        links="".join(f'<a href="#{anchor}">{safe(title)}</a>' for anchor, title in links),
        switch="".join(
            f'<label><input type="radio" name="metric" value="{safe(m.name)}" autocomplete="off"{" checked" * m.shown}>'
            f"<span>{safe(m.figure.heading)}</span></label>"
            for m in metrics
        ),
        tables="".join(table(s, n, metrics, about) for n, s in enumerate(sections, 1)) or "<p>No results yet.</p>",
        viewer=_viewer(pictures, metrics, order_methods(about, cells)) if pictures["entries"] else "",
    )
    with whole_file(out / "report.html") as part:
        part.write_bytes(page.encode(errors="backslashreplace"))  # of a name that is not UTF-8
    return out / "report.html"


def _resource(name: str) -> str:
    return files("blindsr.evaluation").joinpath("report_page", name).read_text(encoding="utf-8")


def _tidy(cells: Sequence[Mapping[str, Any]], by_set: bool) -> list[dict[str, Any]]:
    """The cells with every name there; ``unit`` is what has a column, ``seconds`` count as a metric."""
    tidy = []
    for line in cells:
        cell = {name: str(line.get(name) or "") for name in ("set", "image", "kernel", "method")}
        cell |= {"scale": line.get("scale"), "sigma_255": line.get("sigma_255")}
        measured = (line.get("metrics") or {}) | {"seconds": line.get("seconds")}
        numbers = {m: v for m, v in measured.items() if isinstance(v, int | float) and not math.isnan(v)}
        tidy.append(cell | {"metrics": numbers, "unit": cell["set" if by_set else "kernel"]})
    return tidy


def _entries(cells: Sequence[Mapping[str, Any]], metrics: Sequence[Metric]) -> dict[str, dict[str, Any]]:
    """Folder of a case's pictures -> what the viewer tells of the case: what it is, and the numbers of every method."""
    entries: dict[str, dict[str, Any]] = {}
    for c in cells:
        case = {"image": c["image"], "scale": c["scale"], "kernel": c["kernel"], "sigma": c["sigma_255"] or 0}
        entry = entries.setdefault(case_name(*case.values()), case | {"numbers": {}})
        numbers = c["metrics"]
        entry["numbers"][c["method"]] = {m.name: m.text(numbers[m.name]) for m in metrics if m.name in numbers}
    return entries


def _viewer(pictures: dict, metrics: Sequence[Metric], methods: Sequence[str]) -> str:
    data = pictures | {"methods": methods, "labels": {m.name: m.figure.heading for m in metrics}}
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return Template(_resource("viewer.html")).substitute(note=safe(pictures["note"]), data=text)
