"""The tables of a benchmark: means over photos, in the layout of the field, with the published numbers beside them.

All that is shown of them is computed here, once; :mod:`blindsr.evaluation.table_text` writes it as Markdown, CSV and
JSON, :mod:`blindsr.evaluation.report_tables` as HTML.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from blindsr.evaluation.figures import DIAGNOSTICS, figure
from blindsr.evaluation.protocol import Protocol

ORACLE = "oracle"  # the method that is told the truth, if there is one

Numbers = dict[str, dict[tuple, float]]  # of one method: metric -> (unit of the column, set, image, kernel) -> number


@dataclass(frozen=True)
class Column:
    """A kernel or set, the one of its ``units``, in a ``group`` of the protocol if it belongs to one; or the mean over
    several kernels: those of a ``group``, or all."""

    name: str
    units: list[str]
    group: str = ""

    @property
    def is_mean(self) -> bool:
        return self.units != [self.name]


@dataclass
class Row:
    """``values``: metric -> column -> mean, and ``all`` for that of all cells. ``counts``: metric -> unit -> cells that
    were measured. ``below``: metric -> mean of the oracle minus this row, over the cells that both have, of which
    ``compared`` holds the number; the oracle itself has none."""

    method: str
    published: bool = False
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    below: dict[str, float] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)

    def value(self, metric: str, column: str) -> float | None:
        return self.values.get(metric, {}).get(column)


@dataclass
class Table:
    """One scale and noise level. ``photos``: set -> how many; ``by``: what a column is one of, ``kernel`` or ``set``;
    ``metrics`` are those of the protocol, the first of which the table is about, ``diagnostics`` what else is known."""

    scale: int
    sigma_255: float
    photos: dict[str, int]
    by: str
    columns: list[Column]
    metrics: list[str]
    diagnostics: list[str]
    rows: list[Row]

    def rank(self, row: Row, metric: str, column: str) -> int:
        """1 for the best number of a column, 2 for the second, as they are printed: ties share it. 0 for all others;
        published rows, which may be of other photos, have none, nor has a row without rivals."""
        known, own = figure(metric), row.value(metric, column)
        rivals = [r.value(metric, column) for r in self.rows if metric in r.values and not r.published]
        if row.published or own is None or len(rivals) < 2:
            return 0
        printed = {round(v, known.digits) for v in rivals if v is not None}
        first = sorted(printed, reverse=not known.lower_is_better)[:2]
        return next((n for n, v in enumerate(first, 1) if v == round(own, known.digits)), 0)

    def uneven(self, metric: str) -> list[tuple[str, str, int, int]]:
        """Method, unit, its cells, and how many it should have, wherever it has fewer: as many as the most that any
        method has there, and where units are kernels, that any kernel has. Such means do not compare."""
        units = [c.name for c in self.columns if not c.is_mean]
        known = [row for row in self.rows if metric in row.counts]
        counts = {(row.method, unit): row.counts[metric].get(unit, 0) for row in known for unit in units}
        most = {u: max((n for (_, v), n in counts.items() if u == v), default=0) for u in units}
        if self.by == "kernel":
            most = dict.fromkeys(units, max(most.values()))
        return [(method, unit, n, most[unit]) for (method, unit), n in counts.items() if n < most[unit]]

    def warning(self, metric: str) -> str:
        """A line about :meth:`uneven` means, or nothing."""
        short = [f"{n} of {most} for {method} {unit}" for method, unit, n, most in self.uneven(metric)]
        if not short:
            return ""
        listed = "; ".join(short[:6]) + (f"; and {len(short) - 6} cells more" if len(short) > 6 else "")
        return f"Not all cells have the same number of images ({listed}): their means do not compare."


def numbers(cell: Mapping[str, Any]) -> dict[str, float]:
    """Metric -> number of a line of cells.jsonl, ``seconds`` among them; without those that are unknown or NaN."""
    found = {**cell["metrics"], "seconds": cell.get("seconds", math.nan)}
    return {metric: value for metric, value in found.items() if not math.isnan(value)}


def build(
    protocol: Protocol, kernels: Mapping[int, Iterable[str]], cells: Sequence[Mapping[str, Any]]
) -> list[Table]:
    """The tables of ``cells`` (lines of cells.jsonl), in the protocol's order; settings without cells are left out.
    Rows and columns stand in the order of the cells. ``kernels`` are the names that every scale has in the protocol."""
    tables = []
    for setting in protocol.settings:
        for sigma in setting.sigma_255:
            here = [c for c in cells if c["scale"] == setting.scale and c["sigma_255"] == sigma]
            if here:
                tables.append(_table(protocol, kernels, here, setting.scale, sigma))
    return tables


def _table(
    protocol: Protocol,
    kernels: Mapping[int, Iterable[str]],
    cells: Sequence[Mapping[str, Any]],
    scale: int,
    sigma: float,
) -> Table:
    by = protocol.columns
    columns = _columns(protocol, list(dict.fromkeys(c[by] for c in cells)))
    found: dict[str, Numbers] = {}
    for c in cells:
        of_method = found.setdefault(c["method"], {})
        for metric, number in numbers(c).items():
            of_method.setdefault(metric, {})[c[by], c["set"], c["image"], c["kernel"]] = number
    oracle = found.get(ORACLE, {})
    rows = [_measured(m, own, {} if m == ORACLE else oracle, columns) for m, own in found.items()]
    rows += _quoted(protocol, kernels, (scale, sigma), columns)
    photos = dict(Counter(name for name, _ in {(c["set"], c["image"]): None for c in cells}))
    diagnostics = [m for m in DIAGNOSTICS if any(m in row.values for row in rows)]
    return Table(scale, sigma, photos, by, columns, list(protocol.metrics), diagnostics, rows)


def _columns(protocol: Protocol, units: list[str]) -> list[Column]:
    """The units; of several kernels the mean of every group too, and of all unless a group holds them all."""
    if protocol.columns == "set":
        return [Column(unit, [unit]) for unit in units]
    groups = {g.name: [u for u in units if u in g.kernels] for g in protocol.groups}
    group_of = {u: name for name, group in groups.items() for u in group}
    columns = [Column(unit, [unit], group_of.get(unit, "")) for unit in units]
    if len(units) > 1:
        columns += [Column(f"mean {name}", group, name) for name, group in groups.items() if group]
        columns += [Column("mean", units)] if units not in groups.values() else []
    return columns


def _measured(method: str, found: Numbers, oracle: Numbers, columns: Sequence[Column]) -> Row:
    row = Row(method)
    for metric, own in found.items():
        means = {c.name: [v for (unit, *_), v in own.items() if unit in c.units] for c in columns}
        means["all"] = list(own.values())
        row.values[metric] = {name: fmean(v) for name, v in means.items() if v}
        row.counts[metric] = dict(Counter(unit for unit, *_ in own))
        told = oracle.get(metric, {})
        if both := [told[cell] - v for cell, v in own.items() if cell in told]:
            row.below[metric], row.compared[metric] = fmean(both), len(both)
    return row


def _quoted(
    protocol: Protocol, kernels: Mapping[int, Iterable[str]], place: tuple[int, float], columns: Sequence[Column]
) -> list[Row]:
    """A row for each that was published of this scale and σ; a mean where all that it is of is known."""
    rows: dict[str, Row] = {}
    for row, metric, known in protocol.published_values(kernels):
        if (row.scale, row.sigma_255) == place:
            means = {c.name: [known.get(u) for u in c.units] for c in columns}
            values = {name: fmean(v) for name, v in means.items() if None not in v}  # type: ignore[arg-type]
            if values:
                rows.setdefault(row.name, Row(row.name, True)).values[metric] = values
    return list(rows.values())
