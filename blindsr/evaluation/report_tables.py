"""The tables of a benchmark's page, as HTML: a row per method, a column per kernel (or per set) and per mean."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from blindsr.evaluation.figures import Figure, figure
from blindsr.evaluation.report_pictures import kernel_uri

ORACLE = "oracle"  # the method that is told the truth, if there is one
MOST_COLUMNS = 24  # a table of more kernels shows their means alone
UNNAMED = {"": "mean", "none": "no blur", "given": "given kernel", "unknown": "unknown kernel"}

Values = Mapping[str, Mapping[tuple, float]]  # of one method: unit (a column: kernel or set) -> photo -> value


class Metric(NamedTuple):
    """A figure that the page has, under its ``name`` in the cells; one is ``shown`` at first."""

    name: str
    figure: Figure
    shown: bool

    @property
    def mark(self) -> str:
        """Attributes of an element that belongs to this metric: the page shows one metric at a time."""
        return f'data-metric="{safe(self.name)}"' + ("" if self.shown else " hidden")

    def text(self, value: float | None, sign: str = "") -> str:
        return self.figure.text(value, sign)


class Column(NamedTuple):
    label: str
    units: Sequence[str]
    group: str
    is_mean: bool


class Section(NamedTuple):
    """What is known at one scale and noise level."""

    title: str
    cells: Sequence[Mapping[str, Any]]
    published: Sequence[Mapping[str, Any]]
    columns: Sequence[Column]
    has_oracle: bool


def safe(text: Any) -> str:
    return html.escape(str(text))


def find_metrics(about: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> list[Metric]:
    """The metrics that some cell has, in the protocol's order; the first is shown."""
    found = {m: None for c in cells for m in c["metrics"]}
    names = [m for m in about.get("metrics") or [] if m in found]
    names += sorted(found.keys() - set(names), key=lambda m: (m == "seconds", list(found).index(m)))
    return [Metric(m, figure(m), m == names[0]) for m in names]


def find_sections(about: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> list[Section]:
    """One section per scale and noise level that has cells, those of the protocol first, in its order."""
    planned = [(s, n) for s in about.get("scales") or [] for n in about.get("sigmas_255") or []]
    sections = []
    for scale, sigma in dict.fromkeys([*planned, *((c["scale"], c["sigma_255"]) for c in cells)]):
        here = [c for c in cells if (c["scale"], c["sigma_255"]) == (scale, sigma)]
        if here:
            wanted = {"scale": scale, "sigma_255": sigma}
            published = [p for p in about.get("published") or [] if all(p.get(k, v) == v for k, v in wanted.items())]
            said = [None if scale is None else f"×{scale}", None if sigma is None else f"σ = {sigma:g}"]
            title = ", ".join(filter(None, said))
            methods = {c["method"] for c in here}
            columns = _columns(about, {c["unit"]: None for c in here})
            sections.append(
                Section(title or "Results", here, published, columns, ORACLE in methods and len(methods) > 1)
            )
    return sections


def by_set(about: Mapping[str, Any]) -> bool:
    """Whether a column stands for a set of photos, and not for a kernel."""
    return (about.get("protocol") or {}).get("columns") == "set"


def _columns(about: Mapping[str, Any], found: Mapping[str, None]) -> list[Column]:
    """A column per set; or one per kernel, in the protocol's order, then the means of every group and of all."""
    units = [u for u in about.get("sets" if by_set(about) else "kernels") or [] if u in found]
    units += [u for u in found if u not in units]
    if by_set(about):
        return [Column(u, [u], "", False) for u in units]
    groups = {name: [u for u in units if u in group] for name, group in (about.get("groups") or {}).items()}
    groups = {name: group for name, group in groups.items() if group}
    group_of = {u: name for name, group in groups.items() for u in group}
    single = units if len(units) <= MOST_COLUMNS else []
    columns = [Column(UNNAMED.get(u, u), [u], group_of.get(u, ""), False) for u in single]
    if len(units) > 1:
        columns += [Column(name, group, "mean", True) for name, group in groups.items()]
        if units not in groups.values():
            columns.append(Column("all" if groups else "mean", units, "mean" if groups else "", True))
    return columns


def order_methods(about: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """In the protocol's order; what is called ``blind, loop 1`` stands with ``blind``, all others at the end."""
    order = list(about.get("methods") or [])
    found = list(dict.fromkeys(c["method"] for c in cells))

    def place(method: str) -> int:
        return next((i for i, m in enumerate(order) if method == m or method.startswith(f"{m}, ")), len(order))

    return sorted(found, key=place)


def table(section: Section, number: int, metrics: Sequence[Metric], about: Mapping[str, Any]) -> str:
    """A table with one heading and, for each metric, a body of measured rows and one of published rows."""
    methods = order_methods(about, section.cells)
    photos = {(c["set"], c["image"]) for c in section.cells}
    sets = Counter(s for s, _ in photos)
    warnings, bodies = "", ""
    for metric in metrics:
        rows: dict[str, dict[str, dict[tuple, float]]] = {m: {} for m in methods}
        for c in section.cells:
            if metric.name in c["metrics"]:
                photo = (c["set"], c["image"], c["kernel"])
                rows[c["method"]].setdefault(c["unit"], {})[photo] = c["metrics"][metric.name]
        rows = {method: values for method, values in rows.items() if values}
        warnings += _uneven(rows, {c["unit"]: None for c in section.cells}, metric, by_set(about))
        bodies += _measured(rows, section, metric) + _published(section, metric)
    title, count = safe(section.title), f"{len(photos)} image{'s' * (len(photos) != 1)}"
    count += f" ({', '.join(f'{n} of {name}' for name, n in sorted(sets.items()))})" if len(sets) > 1 else ""
    return (
        f'<section id="table-{number}"><h2>{title} <small>{safe(count)}</small></h2>{warnings}'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Results, {title}">'
        f"<table>{_heading(section, metrics, about)}{bodies}</table></div></section>"
    )


def _heading(section: Section, metrics: Sequence[Metric], about: Mapping[str, Any]) -> str:
    """Kernels as pictures under the names of their groups, then the means, then the loss against the oracle."""
    taps = {} if by_set(about) else about.get("kernels") or {}
    grouped = any(c.group for c in section.columns)

    def cell(place: int, label: str, kind: str, kernel: str = "", rows: int = 1) -> str:
        picture = (
            f'<img src="{kernel_uri(np.array(taps[kernel]))}" alt="">' if np.size(taps.get(kernel, ())) > 1 else ""
        )
        button = f'<button type="button" data-column="{place}">{picture}<span>{safe(label)}</span></button>'
        return f'<th scope="col" class="{kind}" rowspan="{rows}" aria-sort="none">{button}</th>'

    ways = ["↓" if m.figure.lower_is_better else "↑" for m in metrics]
    units = "".join(f"<span {m.mark}>{safe(m.figure.heading)} {way}</span>" for m, way in zip(metrics, ways))
    corner = f'<th scope="col" rowspan="{1 + grouped}">{units}</th>'
    low = "".join(
        cell(i, c.label, "mean") if c.is_mean else cell(i, c.label, "kernel", c.units[0])
        for i, c in enumerate(section.columns, 1)
    )
    oracle = cell(len(section.columns) + 1, f"Δ {ORACLE}", "mean", rows=1 + grouped) if section.has_oracle else ""
    if not grouped:
        return f"<thead><tr>{corner}{low}{oracle}</tr></thead>"
    runs = [(name, len(list(run))) for name, run in groupby(c.group for c in section.columns)]
    high = "".join(f'<th scope="colgroup" colspan="{n}"><span>{safe(name)}</span></th>' for name, n in runs)
    return f"<thead><tr>{corner}{high}{oracle}</tr><tr>{low}</tr></thead>"


def _measured(rows: Mapping[str, Values], section: Section, metric: Metric) -> str:
    """Our rows; in every column the best number is bold and the second underlined, as printed: ties share it."""
    means = {method: [_mean(values, c.units) for c in section.columns] for method, values in rows.items()}
    marks = []
    for column in zip(*means.values()):
        known = {round(v, metric.figure.digits) for v in column if v is not None}
        ranked = sorted(known, reverse=not metric.figure.lower_is_better)
        marks.append({metric.text(v): tag for v, tag in zip(ranked, "bu")} if len(rows) > 1 else {})
    lines = ""
    for method, row in means.items():
        texts = [metric.text(v) for v in row]
        tags = [mark.get(text) for mark, text in zip(marks, texts)]
        texts = [f"<{tag}>{text}</{tag}>" if tag else text for tag, text in zip(tags, texts)]
        if section.has_oracle:
            texts.append(metric.text(_loss(rows[method], rows.get(ORACLE, {})), "+"))
        lines += _row(safe(method), texts, section)
    width = len(section.columns) + 1 + section.has_oracle
    return _body(metric, lines or f'<tr><td class="none" colspan="{width}">not measured here</td></tr>')


def _published(section: Section, metric: Metric) -> str:
    """Numbers of papers; a mean is that of the numbers given, or given itself under the column's name."""
    lines = ""
    for p in section.published:
        if p.get("metric", "psnr") == metric.name:
            values = {k: {"": float(v)} for k, v in p["values"].items() if v is not None}
            means = [_mean(values, c.units if values.keys() >= {*c.units} else [c.label]) for c in section.columns]
            texts = [metric.text(v) for v in means] + [""] * section.has_oracle
            lines += _row(f'{safe(p["method"])}&nbsp;<abbr title="published">†</abbr>', texts, section)
    return _body(metric, lines, ' class="published"') if lines else ""


def _body(metric: Metric, lines: str, more: str = "") -> str:
    best = "low" if metric.figure.lower_is_better else "high"
    return f'<tbody {metric.mark} data-best="{best}"{more}>{lines}</tbody>'


def _row(heading: str, texts: Sequence[str], section: Section) -> str:
    kinds = ["mean" if c.is_mean else "kernel" for c in section.columns] + ["mean"]
    cells = "".join(f'<td class="{kind}">{text}</td>' for kind, text in zip(kinds, texts))
    return f'<tr><th scope="row">{heading}</th>{cells}</tr>'


def _mean(values: Values, units: Iterable[str]) -> float | None:
    """Mean over all photos of all these units; None when there are none."""
    numbers = [v for u in units for v in values.get(u, {}).values()]
    return fmean(numbers) if numbers else None


def _loss(values: Values, oracle: Values) -> float | None:
    """Mean difference to the oracle over the photos and kernels that both have."""
    pairs = [v - oracle[u][p] for u, photos in values.items() for p, v in photos.items() if p in oracle.get(u, {})]
    return fmean(pairs) if pairs else None


def _uneven(rows: Mapping[str, Values], units: Iterable[str], metric: Metric, by_set: bool) -> str:
    """A warning where the cells of this metric are not means of the same number of images; else nothing. Sets
    may differ among themselves."""
    counts = {(m, u): len(values.get(u, {})) for m, values in rows.items() for u in units}
    most = {u: max(n for (_, v), n in counts.items() if u == v or not by_set) for _, u in counts}
    short = [f"{n} of {most[u]} for {m} {u}".strip() for (m, u), n in counts.items() if n < most[u]]
    if not short:
        return ""
    listed = "; ".join(short[:6]) + (f"; and {len(short) - 6} cells more" if len(short) > 6 else "")
    words = f"Not all cells have the same number of images ({listed}): their means do not compare."
    return f'<p class="warning" {metric.mark}>{safe(words)}</p>'
