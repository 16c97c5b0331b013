"""One HTML page of a benchmark's results, which needs no other file, no network and no framework.

The tables are written here, ready to read and to print; the page's script only sorts them, switches the metric
and drives the viewer of pictures. Everything that comes from files is escaped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from blindsr.atomic import whole_file
from blindsr.evaluation.jsonl import read_lines
from blindsr.evaluation.report_pictures import collect
from blindsr.evaluation.report_tables import Metric, by_set, find_metrics, find_sections, order_methods, safe, table


def write_report(out: Path) -> Path:
    """Write ``out/report.html`` from the ``protocol.json``, ``cells*.jsonl`` and ``pictures/`` in ``out``."""
    out = Path(out)
    protocol = json.loads((out / "protocol.json").read_text(encoding="utf-8"))
    cells = read_cells(out, by_set(protocol))
    metrics = find_metrics(protocol, cells)
    sections = find_sections(protocol, cells)
    pictures = collect(out / "pictures")
    facts = {
        "Date": protocol.get("date"),
        "Version": protocol.get("version"),
        "Model": protocol.get("model"),
        "Images": len({(c["set"], c["image"]) for c in cells}),
        "Methods": len({c["method"] for c in cells}),
    }
    limited = f"Of each set only the first images, at most {protocol.get('limit')}"
    limited += "; published numbers are of all." if protocol.get("published") else "."
    links = [(f"table-{n}", section.title) for n, section in enumerate(sections, 1)]
    links += [("viewer", "Pictures")] if pictures["entries"] else []
    page = Template(_resource("page.html")).substitute(
        title=safe(protocol.get("name") or "Benchmark"),
        css=_resource("page.css"),
        js=_resource("page.js"),
        description="".join(
            f"<p>{safe(p)}</p>" for p in (protocol.get("description") or "").split("\n\n") if p.strip()
        ),
        facts="".join(f"<div><dt>{name}</dt><dd>{safe(fact)}</dd></div>" for name, fact in facts.items() if fact),
        command=f"<pre><code>{safe(protocol['command'])}</code></pre>" if protocol.get("command") else "",
        limit=f'<p class="warning">{safe(limited)}</p>' if protocol.get("limit") else "",
        links="".join(f'<a href="#{anchor}">{safe(title)}</a>' for anchor, title in links),
        switch="".join(
            f'<label><input type="radio" name="metric" value="{safe(m.name)}" autocomplete="off"{" checked" * m.shown}>'
            f"<span>{safe(m.label)}</span></label>"
            for m in metrics
        ),
        tables="".join(table(s, n, metrics, protocol) for n, s in enumerate(sections, 1)) or "<p>No results yet.</p>",
        viewer=_viewer(pictures, metrics, cells, protocol) if pictures["entries"] else "",
    )
    with whole_file(out / "report.html") as part:
        part.write_text(page, encoding="utf-8")
    return out / "report.html"


def _resource(name: str) -> str:
    return files("blindsr.evaluation").joinpath("report_page", name).read_text(encoding="utf-8")


def read_cells(out: Path, by_set: bool = False) -> list[dict[str, Any]]:
    """The cells of all ranks, the last line of each; ``unit`` is what has a column, ``seconds`` count as a metric."""
    cells = {}
    for path in sorted(out.glob("cells*.jsonl")):
        for line in read_lines(path):
            cell = {name: str(line.get(name) or "") for name in ("set", "image", "kernel", "method")}
            cell |= {name: line.get(name) for name in ("scale", "sigma_255")}
            measured = (line.get("metrics") or {}) | {"seconds": line.get("seconds")}
            numbers = {m: v for m, v in measured.items() if isinstance(v, int | float) and not math.isnan(v)}
            cells[tuple(cell.values())] = cell | {"metrics": numbers, "unit": cell["set" if by_set else "kernel"]}
    return list(cells.values())


def _viewer(pictures: dict, metrics: Sequence[Metric], cells: Sequence[Mapping], protocol: Mapping) -> str:
    """The viewer and its data: every picture under its method's full name, and told with its own numbers."""
    numbers: dict[tuple, dict[str, dict[str, str]]] = {}
    for c in cells:
        place = c["image"], c["scale"], c["kernel"], c["sigma_255"] or 0
        texts = {m.name: m.text(c["metrics"][m.name]) for m in metrics if m.name in c["metrics"]}
        numbers.setdefault(place, {})[c["method"]] = texts
    methods = order_methods(protocol, cells)
    names = {re.sub(r"[^\w.-]+", "_", m): m for m in methods}  # of files
    for entry in pictures["entries"]:
        place = entry["image"], entry["scale"], entry["kernel"], entry["sigma"]
        entry["numbers"] = numbers.get(place, {})
        for kind in ("pictures", "kernels"):
            entry[kind] = {names.get(name, name): i for name, i in entry[kind].items()}
    data = pictures | {"methods": methods, "labels": {m.name: m.label for m in metrics}}
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return Template(_resource("viewer.html")).substitute(note=safe(pictures["note"]), data=text)
