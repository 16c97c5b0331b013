"""The tables of a benchmark as text: Markdown to read, CSV and JSON to go on with."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from blindsr.atomic import json_bytes, write_whole
from blindsr.evaluation.figures import figure
from blindsr.evaluation.table import Row, Table
from blindsr.evaluation.trust import Trust


def write_tables(
    out: Path, title: str, about: str, tables: Sequence[Table], trusts: Mapping[str, Trust] = MappingProxyType({})
) -> str:
    """Write ``table.md``, ``table.csv`` and ``table.json`` into ``out``; answers the Markdown."""
    said = markdown(title, about, tables, trusts)
    texts = {"table.md": said, "table.csv": as_csv(tables)}
    whole = {"name": title, "tables": [asdict(t) for t in tables], "trust": {m: asdict(t) for m, t in trusts.items()}}
    contents = {name: text.encode(errors="backslashreplace") for name, text in texts.items()}  # names may be no UTF-8
    for name, content in (contents | {"table.json": json_bytes(_finite(whole))}).items():
        write_whole(out / name, content)
    return said


def markdown(
    title: str, about: str, tables: Iterable[Table], trusts: Mapping[str, Trust] = MappingProxyType({})
) -> str:
    """All tables with the protocol, ``about``, above them, and ``trusts`` below."""
    parts = [f"# {title}", about]
    for table in tables:
        photos = sum(table.photos.values())
        parts.append(f"## ×{table.scale}, σ {table.sigma_255:g}: {photos} photo{'s' * (photos != 1)}")
        warnings = [(figure(m).label, table.warning(m)) for m in table.metrics]
        parts += [_figures(table), *(f"{label}: {words}" for label, words in warnings if words), _diagnostics(table)]
    parts += [
        f"Rank correlation (Spearman) of the kernel risk of {method} with its dB below the oracle, "
        f"over all {trust.cells} cells: {trust.correlation:.2f}"
        for method, trust in trusts.items()
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figures(table: Table) -> str:
    main, others = table.metrics[0], table.metrics[1:]
    columns = [c.name for c in table.columns]
    pair = len(others) == 1 and len(columns) <= 4  # few columns: both in one cell, as in 32.00/0.8885
    joined, beside = ([main, *others], []) if pair else ([main], others)
    losses = any("psnr" in row.below for row in table.rows)
    head = ["/".join(figure(m).label for m in joined), *columns, *(f"{figure(m).label}, mean" for m in beside)]
    head += ["dB below the oracle"] if losses else []
    lines = []
    for row in table.rows:
        shown = ["/".join(_bold(table, row, m, c) for m in joined) for c in columns]
        shown += [_bold(table, row, m, "all") for m in beside]
        shown += [figure("psnr").text(row.below.get("psnr"))] if losses else []
        lines.append([f"{row.method} (published)" if row.published else row.method, *shown])
    return _grid(head, lines)


def _diagnostics(table: Table) -> str:
    lines = [
        [row.method, *(figure(m).text(row.value(m, "all")) for m in table.diagnostics)]
        for row in table.rows
        if not row.published
    ]
    return _grid(["means", *(figure(m).heading for m in table.diagnostics)], lines)


def _bold(table: Table, row: Row, metric: str, column: str) -> str:
    text = figure(metric).text(row.value(metric, column))
    return f"**{text}**" if table.rank(row, metric, column) == 1 else text


def _grid(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def as_csv(tables: Iterable[Table]) -> str:
    """Long form: a line for each scale, σ, method, metric and column, with the number of ``cells`` that it is the mean of."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["scale", "sigma_255", "method", "published", "metric", "column", "value", "cells"])
    for table in tables:
        for row in table.rows:
            place = [table.scale, table.sigma_255, row.method, int(row.published)]
            for metric, values in row.values.items():
                counts = row.counts.get(metric, {})
                units = {c.name: c.units for c in table.columns} | {"all": list(counts)}
                for column, value in values.items():
                    cells = "" if row.published else sum(counts.get(unit, 0) for unit in units[column])
                    writer.writerow([*place, metric, column, round(value, 5), cells])
            if "psnr" in row.below:
                loss = round(row.below["psnr"], 5), row.compared["psnr"]
                writer.writerow([*place, "loss_against_oracle", "all", *loss])
    return text.getvalue()


def _finite(value: Any) -> Any:
    """JSON knows no infinite numbers, and the PSNR of a picture to itself is one: None."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
