"""The tables of a benchmark's page, as HTML: a row per method, a column per kernel (or per set) and per mean."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from blindsr.evaluation.figures import DIAGNOSTICS, Figure, figure
from blindsr.evaluation.report_pictures import kernel_uri
from blindsr.evaluation.table import ORACLE, Column, Row, Table

MOST_COLUMNS = 24  # a table of more kernels shows their means alone
NAMES = {"none": "no blur", "given": "given kernel", "unknown": "unknown kernel"}

Taps = Mapping[str, Sequence[Sequence[float]]]  # kernel -> its taps, (h, w)


class Metric(NamedTuple):
    """A figure that the page has, under its ``name`` in the tables; one is ``shown`` at first."""

    name: str
    figure: Figure
    shown: bool

    @property
    def mark(self) -> str:
        """Attributes of an element that belongs to this metric: the page shows one metric at a time."""
        return f'data-metric="{safe(self.name)}"' + ("" if self.shown else " hidden")


def safe(text: Any) -> str:
    return html.escape(str(text))


def find_metrics(tables: Iterable[Table]) -> list[Metric]:
    """The metrics of the protocol, then what else any table knows; the first is shown."""
    names = list(dict.fromkeys(m for table in tables for m in table.metrics))
    names += [m for m in DIAGNOSTICS if any(m in table.diagnostics for table in tables)]
    return [Metric(name, figure(name), n == 0) for n, name in enumerate(names)]


def title(table: Table) -> str:
    return f"×{table.scale}, σ = {table.sigma_255:g}"


def section(table: Table, number: int, metrics: Sequence[Metric], taps: Taps) -> str:
    """A table with one heading and, for each metric, a body of measured rows and one of published rows."""
    means = [c for c in table.columns if c.is_mean]
    columns = means if means and len(table.columns) - len(means) > MOST_COLUMNS else table.columns
    has_oracle = any(row.below for row in table.rows)
    heading = _heading(columns, metrics, has_oracle, taps if table.by == "kernel" else {})
    warnings, bodies = "", ""
    for metric in metrics:
        warnings += _uneven(table, metric)
        measured, published = (_lines(table, columns, metric, has_oracle, quoted) for quoted in (False, True))
        none = f'<tr><td class="none" colspan="{len(columns) + 1 + has_oracle}">not measured here</td></tr>'
        bodies += _body(metric, measured or none)
        bodies += _body(metric, published, ' class="published"') if published else ""
    photos = sum(table.photos.values())
    count = f"{photos} image{'s' * (photos != 1)}"
    if len(table.photos) > 1:
        count += f" ({', '.join(f'{n} of {name}' for name, n in sorted(table.photos.items()))})"
    return (
        f'<section id="table-{number}"><h2>{title(table)} <small>{safe(count)}</small></h2>{warnings}'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Results, {title(table)}">'
        f"<table>{heading}{bodies}</table></div></section>"
    )


def _heading(columns: Sequence[Column], metrics: Sequence[Metric], has_oracle: bool, taps: Taps) -> str:
    """Kernels as pictures under the names of their groups, then the means, then the loss against the oracle."""
    grouped = any(c.group for c in columns)

    def cell(place: int, label: str, kernel: str = "", rows: int = 1) -> str:
        picture = (
            f'<img src="{kernel_uri(np.array(taps[kernel]))}" alt="">' if np.size(taps.get(kernel, ())) > 1 else ""
        )
        button = f'<button type="button" data-column="{place}">{picture}<span>{safe(label)}</span></button>'
        kind = "kernel" if kernel else "mean"
        return f'<th scope="col" class="{kind}" rowspan="{rows}" aria-sort="none">{button}</th>'

    ways = ["↓" if m.figure.lower_is_better else "↑" for m in metrics]
    units = "".join(f"<span {m.mark}>{safe(m.figure.heading)} {way}</span>" for m, way in zip(metrics, ways))
    corner = f'<th scope="col" rowspan="{1 + grouped}">{units}</th>'
    low = "".join(
        cell(i, c.group or ("all" if grouped else "mean")) if c.is_mean else cell(i, NAMES.get(c.name, c.name), c.name)
        for i, c in enumerate(columns, 1)
    )
    oracle = cell(len(columns) + 1, f"Δ {ORACLE}", rows=1 + grouped) if has_oracle else ""
    if not grouped:
        return f"<thead><tr>{corner}{low}{oracle}</tr></thead>"
    runs = [(name, len(list(run))) for name, run in groupby("mean" if c.is_mean else c.group for c in columns)]
    high = "".join(f'<th scope="colgroup" colspan="{n}"><span>{safe(name)}</span></th>' for name, n in runs)
    return f"<thead><tr>{corner}{high}{oracle}</tr><tr>{low}</tr></thead>"


def _lines(table: Table, columns: Sequence[Column], metric: Metric, has_oracle: bool, published: bool) -> str:
    """The measured or the published rows that have this metric."""
    lines = ""
    for row in table.rows:
        if row.published == published and metric.name in row.values:
            texts = [_marked(table, row, metric, c.name) for c in columns]
            if has_oracle:
                below = row.below.get(metric.name, 0.0 if row.method == ORACLE else None)
                texts.append("" if published else metric.figure.text(None if below is None else -below, "+"))
            kinds = ["mean" if c.is_mean else "kernel" for c in columns] + ["mean"]
            cells = "".join(f'<td class="{kind}">{text}</td>' for kind, text in zip(kinds, texts))
            dagger = '&nbsp;<abbr title="published">†</abbr>' if published else ""
            lines += f'<tr><th scope="row">{safe(row.method)}{dagger}</th>{cells}</tr>'
    return lines


def _marked(table: Table, row: Row, metric: Metric, column: str) -> str:
    """The best number of a column is bold, the second underlined."""
    text, tag = metric.figure.text(row.value(metric.name, column)), ("", "b", "u")[table.rank(row, metric.name, column)]
    return f"<{tag}>{text}</{tag}>" if tag else text


def _body(metric: Metric, lines: str, more: str = "") -> str:
    best = "low" if metric.figure.lower_is_better else "high"
    return f'<tbody {metric.mark} data-best="{best}"{more}>{lines}</tbody>'


def _uneven(table: Table, metric: Metric) -> str:
    """A warning where the cells of this metric are not means of the same number of images; else nothing."""
    words = table.warning(metric.name)
    return f'<p class="warning" {metric.mark}>{safe(words)}</p>' if words else ""
