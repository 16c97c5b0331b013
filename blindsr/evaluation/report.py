"""One HTML page of a benchmark's results, which needs no other file, no network and no framework.

The tables are written here, ready to read and to print; the page's script only sorts them, switches the metric
and drives the viewer of pictures. Everything that comes from files is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from blindsr.atomic import write_whole
from blindsr.evaluation.cases import case_name
from blindsr.evaluation.report_pictures import collect
from blindsr.evaluation.report_tables import Metric, find_metrics, safe, section, title
from blindsr.evaluation.table import Table, numbers
from blindsr.evaluation.worker import file_name


def write_report(
    out: Path, about: Mapping[str, Any], tables: Sequence[Table], cells: Sequence[Mapping[str, Any]]
) -> Path:
    """Write ``out/report.html`` of ``tables`` and of the ``cells`` that they were made of.

    ``about`` is what ``protocol.json`` holds. Of ``out/pictures`` those of the cells are shown, and no others.
    """
    metrics = find_metrics(tables)
    methods = list(dict.fromkeys(c["method"] for c in cells))
    pictures = collect(out / "pictures", _entries(cells, metrics), {file_name(m): m for m in methods})
    facts = {
        "Date": about["date"],
        "Version": about["version"],
        "Model": about["model"],
        "Images": len({(c["set"], c["image"]) for c in cells}),
        "Methods": len(methods),
    }
    limited = f"Of each set only the first images, at most {about['limit']}"
    limited += "; published numbers are of all." if any(row.published for t in tables for row in t.rows) else "."
    links = [(f"table-{n}", title(table)) for n, table in enumerate(tables, 1)]
    links += [("viewer", "Pictures")] if pictures["entries"] else []
    page = Template(_resource("page.html")).substitute(
        title=safe(about["name"]),
        css=_resource("page.css"),
        js=_resource("page.js"),
        description=f"<p>{safe(about['description'])}</p>",
        facts="".join(f"<div><dt>{name}</dt><dd>{safe(fact)}</dd></div>" for name, fact in facts.items() if fact),
        command=f"<pre><code>{safe(about['command'])}</code></pre>" if about["command"] else "",
        limit=f'<p class="warning">{safe(limited)}</p>' if about["limit"] else "",
        links="".join(f'<a href="#{anchor}">{said}</a>' for anchor, said in links),
        switch="".join(
            f'<label><input type="radio" name="metric" value="{safe(m.name)}" autocomplete="off"{" checked" * m.shown}>'
            f"<span>{safe(m.figure.heading)}</span></label>"
            for m in metrics
        ),
        tables="".join(section(table, n, metrics, about["kernels"][table.scale]) for n, table in enumerate(tables, 1))
        or "<p>No results yet.</p>",
        viewer=_viewer(pictures, metrics, methods) if pictures["entries"] else "",
    )
    write_whole(out / "report.html", page.encode(errors="backslashreplace"))  # of a name that is not UTF-8
    return out / "report.html"


def _resource(name: str) -> str:
    return files("blindsr.evaluation").joinpath("report_page", name).read_text(encoding="utf-8")


def _entries(cells: Sequence[Mapping[str, Any]], metrics: Sequence[Metric]) -> dict[str, dict[str, Any]]:
    """Folder of a case's pictures -> what the viewer tells of the case: what it is, and the numbers of every method."""
    entries: dict[str, dict[str, Any]] = {}
    for c in cells:
        case = {"image": c["image"], "scale": c["scale"], "kernel": c["kernel"], "sigma": c["sigma_255"]}
        entry = entries.setdefault(case_name(*case.values()), case | {"numbers": {}})
        known = numbers(c)
        entry["numbers"][c["method"]] = {m.name: m.figure.text(known[m.name]) for m in metrics if m.name in known}
    return entries


def _viewer(pictures: dict, metrics: Sequence[Metric], methods: Sequence[str]) -> str:
    data = pictures | {"methods": methods, "labels": {m.name: m.figure.heading for m in metrics}}
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return Template(_resource("viewer.html")).substitute(note=safe(pictures["note"]), data=text)
