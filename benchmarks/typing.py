"""How fast raw records become a typed frame: ``python -m benchmarks.typing``.

Beside b24frames, what a person writes in a notebook: all records decoded, one DataFrame made of
them, and one conversion a column; of a raw frame, the latter alone. Each way runs in a fresh
process of its own, on the same rows.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

import b24frames  # noqa: F401 - which registers .b24
from b24frames.frame import Layout, build_frame_of_lines
from b24frames.schema import ACTIVITY, COLUMNS, Wire
from b24frames.serialization import encode_record
from benchmarks.measure import (
    Measurement,
    figure,
    measure,
    read_lines,
    without_arrow,
    write,
    write_head,
    write_records,
)


def encode(path: Path) -> list[bytes]:
    """Encode all records as b24frames keeps them."""
    return [encode_record(json.loads(line)) for line in read_lines(path)]


def encode_without_arrow(path: Path) -> list[bytes]:
    """Encode all records, in a process that does as if pyarrow were not installed."""
    without_arrow()
    return encode(path)


def make_frame(path: Path) -> pd.DataFrame:
    """Make a raw frame of all records."""
    return pd.DataFrame([json.loads(line) for line in read_lines(path)])


def convert(raw: pd.DataFrame) -> pd.DataFrame:
    """Convert a raw frame column by column."""
    df = raw.copy(deep=False)
    for name in COLUMNS:
        wire = ACTIVITY[name].wire
        if wire is Wire.INTEGER:
            df[name] = pd.to_numeric(df[name]).astype("Int64")
        elif wire is Wire.DOUBLE:
            df[name] = pd.to_numeric(df[name]).astype("Float64")
        elif wire is Wire.DATETIME:
            df[name] = pd.to_datetime(df[name], utc=True, format="ISO8601", errors="coerce")
        elif wire is Wire.FLAG:
            df[name] = df[name].map({"Y": True, "N": False}).astype("boolean")
        elif wire is Wire.TEXT:
            df[name] = df[name].astype("string")
    return df.set_index("ID")


def decode_and_convert(lines: list[bytes]) -> pd.DataFrame:
    """Decode all records, make a frame of them, and convert it column by column."""
    return convert(pd.DataFrame([json.loads(line) for line in lines]))


def type_lines(lines: list[bytes]) -> pd.DataFrame:
    """Build the typed frame of encoded records."""
    warnings.simplefilter("ignore")
    return build_frame_of_lines(lines, Layout())


def type_frame(raw: pd.DataFrame) -> pd.DataFrame:
    """Type a raw frame."""
    warnings.simplefilter("ignore")
    return raw.b24.typed()


def type_frame_by_arrow(raw: pd.DataFrame) -> pd.DataFrame:
    """Type a raw frame, with the dtypes of the pyarrow backend."""
    warnings.simplefilter("ignore")
    return raw.b24.typed(dtype_backend="pyarrow")


def print_row(name: str, measured: Measurement, notebook: Measurement) -> None:
    """Print a row of the table."""
    speed = notebook.seconds / measured.seconds
    write(f"| {name} | {measured.seconds:.2f} | {measured.peak:.0f} | {speed:.1f} |")


def main(args: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args(args).rows
    with TemporaryDirectory() as folder:
        path = Path(folder) / "records.jsonl"
        write_records(path, rows)
        from_text = measure(read_lines, decode_and_convert, path)
        write(f"{rows:,} records, typed\n")
        write_head("way", "s", "peak MB", "times as fast as the notebook")
        print_row("notebook", from_text, from_text)
        print_row("b24frames", measure(encode, type_lines, path), from_text)
        print_row(
            "b24frames without pyarrow",
            measure(encode_without_arrow, type_lines, path),
            from_text,
        )
        from_frame = measure(make_frame, convert, path, times=5)
        print_row("notebook, of a raw frame", from_frame, from_frame)
        works = {"typed()": type_frame, "typed(pyarrow)": type_frame_by_arrow}
        typed = {name: measure(make_frame, work, path, times=5) for name, work in works.items()}
    for name, measured in typed.items():
        print_row(name, measured, from_frame)
    for name, measured in typed.items():
        figure(f"{name} over a line of pandas a column", measured.over(from_frame), 1.0)


if __name__ == "__main__":
    main()
