"""The tables of a benchmark: means over photos, in the layout of the field, with the published numbers beside them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

from blindsr.atomic import json_bytes, whole_file
from blindsr.evaluation.figures import DIAGNOSTICS, figure
from blindsr.evaluation.protocol import Protocol
from blindsr.evaluation.trust import Trust

Columns = Mapping[str, Sequence[str]]  # name -> the kernels or sets of which it is the mean


@dataclass
class Row:
    """``values``: metric -> column -> mean. ``loss``: mean dB below the oracle, over the cells that both have."""

    method: str
    published: bool = False
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    loss: float | None = None


@dataclass
class Table:
    """One scale and noise level. ``columns`` are kernels or sets, then groups and the mean over all; ``metrics``
    are those of the protocol, the first of which the table is about."""

    scale: int
    sigma_255: float
    photos: int
    columns: list[str]
    metrics: list[str]
    rows: list[Row]


def build(
    protocol: Protocol, kernels: Mapping[int, Iterable[str]], cells: Sequence[Mapping[str, Any]]
) -> list[Table]:
    """The tables of ``cells`` (lines of cells.jsonl), in the protocol's order; settings without cells are left out.
    ``kernels`` are the names that every scale has in the protocol."""
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
    by = "kernel" if protocol.columns == "kernel" else "set"
    units = list(dict.fromkeys(c[by] for c in cells))
    columns = {unit: [unit] for unit in units}
    if by == "kernel":
        groups = {g.name: [k for k in units if k in g.kernels] for g in protocol.groups}
        columns |= {f"mean {name}": group for name, group in groups.items() if group}
        if len(units) > 1:
            columns["mean"] = units
    rows = [_measured(m, cells, by, columns) for m in dict.fromkeys(c["method"] for c in cells)]
    rows += _quoted(protocol, kernels, (scale, sigma), columns)
    photos = len({(c["set"], c["image"]) for c in cells})
    return Table(scale, sigma, photos, list(columns), list(protocol.metrics), rows)


def _measured(method: str, cells: Sequence[Mapping[str, Any]], by: str, columns: Columns) -> Row:
    own = [c for c in cells if c["method"] == method]
    row = Row(method)
    for metric in dict.fromkeys(m for c in own for m in (*c["metrics"], "seconds")):
        row.values[metric] = {}
        for column, units in {**columns, "all": list(dict.fromkeys(c[by] for c in own))}.items():
            values = [_value(c, metric) for c in own if c[by] in units]
            values = [v for v in values if v is not None]
            if values:
                row.values[metric][column] = fmean(values)
    oracle = {_place(c): _value(c, "psnr") for c in cells if c["method"] == "oracle"}
    pairs = [(oracle.get(_place(c)), _value(c, "psnr")) for c in own]
    losses = [a - b for a, b in pairs if a is not None and b is not None]
    row.loss = fmean(losses) if losses and method != "oracle" else None
    return row


def _quoted(
    protocol: Protocol, kernels: Mapping[int, Iterable[str]], place: tuple[int, float], columns: Columns
) -> list[Row]:
    """A row for each that was published of this scale and σ; a mean where all that it is of is known."""
    rows: dict[str, Row] = {}
    for row, metric, known in protocol.published_values(kernels):
        if (row.scale, row.sigma_255) == place:
            means = {name: [known.get(u) for u in units] for name, units in columns.items()}
            values = {name: fmean(v) for name, v in means.items() if None not in v}  # type: ignore[arg-type]
            if values:
                rows.setdefault(row.name, Row(row.name, True)).values[metric] = values
    return list(rows.values())


def _value(cell: Mapping[str, Any], metric: str) -> float | None:
    return cell.get("seconds") if metric == "seconds" else cell["metrics"].get(metric)


def _place(cell: Mapping[str, Any]) -> tuple:
    return cell["set"], cell["image"], cell["kernel"]


# -- writing ---------------------------------------------------------------------------------------------------


def markdown(title: str, about: str, tables: Iterable[Table], trusts: Mapping[str, Trust] = MappingProxyType({})) -> str:
    """All tables with the protocol, ``about``, above them, and ``trusts`` below."""
    parts = [f"# {title}", about]
    for table in tables:
        noun = "photo" if table.photos == 1 else "photos"
        parts.append(f"## ×{table.scale}, σ {table.sigma_255:g}: {table.photos} {noun}")
        parts += [_figures(table), _diagnostics(table)]
    parts += [
        f"Rank correlation (Spearman) of the kernel risk of {method} with its dB below the oracle, "
        f"over all {trust.cells} cells: {trust.correlation:.2f}"
        for method, trust in trusts.items()
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figures(table: Table) -> str:
    main, others = table.metrics[0], table.metrics[1:]
    pair = len(others) == 1 and len(table.columns) <= 4  # few columns: both in one cell, as in 32.00/0.8885
    beside = [] if pair else others
    losses = any(row.loss is not None for row in table.rows)
    names = figure(main).label + (f"/{figure(others[0]).label}" if pair else "")
    head = [names, *table.columns, *(f"{figure(m).label}, mean" for m in beside)]
    head += ["dB below the oracle"] if losses else []
    measured = [row for row in table.rows if not row.published]
    lines = []
    for row in table.rows:
        shown = [_bold(main, column, row, measured) for column in table.columns]
        if pair:
            shown = [f"{a}/{_bold(others[0], c, row, measured)}" for a, c in zip(shown, table.columns)]
        shown += [_bold(metric, "all", row, measured) for metric in beside]
        shown += [figure("psnr").text(row.loss)] if losses else []
        lines.append([f"{row.method} (published)" if row.published else row.method, *shown])
    return _grid(head, lines)


def _diagnostics(table: Table) -> str:
    known = [m for m in DIAGNOSTICS if any(m in row.values for row in table.rows)]
    lines = [
        [row.method, *(figure(m).text(row.values.get(m, {}).get("all")) for m in known)]
        for row in table.rows
        if not row.published
    ]
    return _grid(["means", *(figure(m).heading for m in known)], lines)


def _bold(metric: str, column: str, row: Row, measured: Sequence[Row]) -> str:
    """The best of the measured rows is bold; published rows may be of other photos."""
    known = figure(metric)
    text = known.text(row.values.get(metric, {}).get(column))
    values = [r.values[metric][column] for r in measured if column in r.values.get(metric, {})]
    best = known.text((min if known.lower_is_better else max)(values, default=None))
    return f"**{text}**" if not row.published and len(measured) > 1 and text == best != "–" else text


def _grid(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def as_csv(tables: Iterable[Table]) -> str:
    """Long form: a line for each scale, σ, method, metric and column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["scale", "sigma_255", "method", "published", "metric", "column", "value", "photos"])
    for table in tables:
        for row in table.rows:
            for metric, values in row.values.items():
                for column, value in values.items():
                    place = [table.scale, table.sigma_255, row.method, int(row.published), metric, column]
                    writer.writerow([*place, round(value, 5), "" if row.published else table.photos])
            if row.loss is not None:
                place = [table.scale, table.sigma_255, row.method, 0, "loss_against_oracle", "all"]
                writer.writerow([*place, round(row.loss, 5), table.photos])
    return text.getvalue()


def write_tables(
    out: Path, title: str, about: str, tables: Sequence[Table], trusts: Mapping[str, Trust] = MappingProxyType({})
) -> str:
    """Write ``table.md``, ``table.csv`` and ``table.json`` into ``out``; answers the Markdown."""
    said = markdown(title, about, tables, trusts)
    texts = {"table.md": said, "table.csv": as_csv(tables)}
    whole = {"name": title, "tables": [asdict(t) for t in tables], "trust": {m: asdict(t) for m, t in trusts.items()}}
    texts = {name: text.encode(errors="backslashreplace") for name, text in texts.items()}  # of a name that is not UTF-8
    for name, content in (texts | {"table.json": json_bytes(_finite(whole))}).items():
        with whole_file(out / name) as part:
            part.write_bytes(content)
    return said


def _finite(value: Any) -> Any:
    """JSON knows no infinite numbers, and the PSNR of a picture to itself is one: None."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
