"""To files and other programs, and back: frames come back equal, and nothing is executed."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import b24frames as b24
from b24frames.__main__ import main
from b24frames.accessor.interchange import escape_formula, spreadsheet_safe, storable, to_json
from b24frames.errors import BadValueWarning
from b24frames.frame import Layout
from b24frames.practice import PracticePortal
from b24frames.practice.dataset import make_record
from tests.helpers.frames import assert_frame_equal, build_frame
from tests.helpers.optional import skip_or_fail

AWKWARD = {
    "SUBJECT": "=1+1\nsecond line",
    "LOCATION": "",
    "DESCRIPTION": '\'=x, "quoted"; NA',
    "ORIGIN_ID": "00123",
    "ORIGINATOR_ID": "12345678901234567890",
    "RESULT_CURRENCY_ID": "NA",
    "RESULT_SUM": "-0.1234567890123",
    "SETTINGS": {"it's": 'a "q"', "n": None, "b": True, "ж": [1.5]},
    "PROVIDER_PARAMS": False,
    "DEADLINE": "9999-12-31T00:00:00+03:00",
    "CREATED": "2026-03-29T03:30:00.123456+02:00",
    "FILES": [{"id": 1}],
}
NA = "<NA>"
AS_TEXT: dict[str, Any] = {"dtype": str, "keep_default_na": False, "na_values": [NA]}


@pytest.fixture(params=["numpy_nullable", "pyarrow"])
def backend(request: pytest.FixtureRequest) -> Any:
    """Run a test for both families of dtypes."""
    if request.param == "pyarrow":
        pytest.importorskip("pyarrow")
    return request.param


@pytest.fixture(params=["Asia/Almaty", "UTC"])
def frame(request: pytest.FixtureRequest, backend: Any) -> pd.DataFrame:
    """Make a frame of usual and awkward records."""
    from b24frames.arguments import check_tz

    records = [make_record(0, i) for i in range(1, 51)]
    records.append({**records[0], **AWKWARD, "ID": "1000"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BadValueWarning)
        return build_frame(records, Layout(dtype_backend=backend, tz=check_tz(request.param)))


def assert_restored(frame: pd.DataFrame, read: pd.DataFrame, **options: Any) -> None:
    """Type what was read back, and compare it with what was written."""
    if "ID" in read.columns:
        read = read.set_index("ID")
    tz = str(frame["CREATED"].iloc[-1].tz)
    arrow = isinstance(frame["SUBJECT"].dtype, pd.ArrowDtype)
    backend: Any = "pyarrow" if arrow else "numpy_nullable"
    typed = read.b24.typed(tz=tz, dtype_backend=backend, on_bad_value="raise", **options)
    assert_frame_equal(typed, frame)


def with_na_for_empty(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame without empty texts, which a plain CSV file does not tell from NA."""
    texts = [name for name in frame if getattr(frame[name].dtype, "type", None) is str]
    return frame.assign(**{name: frame[name].mask(frame[name] == "") for name in texts})


def test_parquet__restored(frame: pd.DataFrame, tmp_path: Path) -> None:
    """Parquet keeps all, attrs too; nested columns go as JSON text."""
    pytest.importorskip("pyarrow")
    frame.attrs["b24"] = {"missing": [7]}
    frame.b24.storable().to_parquet(tmp_path / "a.parquet")
    read = pd.read_parquet(tmp_path / "a.parquet")
    assert_restored(frame, read)
    assert read.attrs == frame.attrs


def test_csv__restored_with_a_mark_for_na(frame: pd.DataFrame, tmp_path: Path) -> None:
    """CSV with a mark for NA keeps all, whether written plainly or for a spreadsheet."""
    file = tmp_path / "a.csv"
    frame.to_csv(file, na_rep=NA)
    assert_restored(frame, pd.read_csv(file, **AS_TEXT))
    frame.b24.spreadsheet_safe().to_csv(file, na_rep=NA)
    assert_restored(frame, pd.read_csv(file, **AS_TEXT), from_spreadsheet=True)


def test_csv__plain(frame: pd.DataFrame, tmp_path: Path) -> None:
    """Plain CSV, read as text, keeps all but the difference between "" and NA."""
    file = tmp_path / "a.csv"
    frame.to_csv(file)
    read = pd.read_csv(file, dtype=str, keep_default_na=False, na_values=[""])
    assert_restored(with_na_for_empty(frame), read)


def test_csv__defaults_of_pandas(backend: Any, tmp_path: Path) -> None:
    """Usual values come back from plain CSV with the defaults of pandas."""
    records = [make_record(0, i) for i in range(1, 101)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BadValueWarning)
        frame = build_frame(records, Layout(dtype_backend=backend))
    frame.to_csv(tmp_path / "a.csv")
    assert_restored(with_na_for_empty(frame), pd.read_csv(tmp_path / "a.csv"))


def test_excel__restored(frame: pd.DataFrame, tmp_path: Path) -> None:
    """A workbook with a mark for NA keeps all, and has no formula in it."""
    openpyxl = pytest.importorskip("openpyxl")
    file = tmp_path / "a.xlsx"
    frame.b24.spreadsheet_safe().to_excel(file, na_rep=NA)
    assert_restored(frame, pd.read_excel(file, **AS_TEXT), from_spreadsheet=True)
    cells = [cell for row in openpyxl.load_workbook(file).active.iter_rows() for cell in row]
    assert "f" not in {cell.data_type for cell in cells}


def test_json__restored(frame: pd.DataFrame) -> None:
    """JSON keeps all, with nested values as such."""
    text = to_json(frame.reset_index())
    records = json.loads(text)
    assert records[-1]["SETTINGS"] == AWKWARD["SETTINGS"]
    assert_restored(frame, pd.DataFrame(records, dtype=object))
    assert_restored(frame, pd.DataFrame(records))


def _through_arrow(frame: pd.DataFrame) -> pd.DataFrame:
    """Go to an Arrow table and back."""
    pa = pytest.importorskip("pyarrow")
    back: pd.DataFrame = pa.Table.from_pandas(frame).to_pandas()
    return back


def _through_polars(frame: pd.DataFrame) -> pd.DataFrame:
    """Go to a polars frame and back."""
    polars = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    back: pd.DataFrame = polars.from_pandas(frame).to_pandas()
    return back


def _through_duckdb(frame: pd.DataFrame) -> pd.DataFrame:
    """Go to a DuckDB table and back."""
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    with duckdb.connect() as connection:
        connection.register("activities", frame)
        connection.execute("CREATE TABLE kept AS SELECT * FROM activities")
        columns = connection.sql("SELECT * FROM kept ORDER BY ID").to_arrow_table()
    back: pd.DataFrame = columns.to_pandas()
    return back


@pytest.mark.parametrize("through", [_through_arrow, _through_polars, _through_duckdb])
def test_programs__restored(
    frame: pd.DataFrame, through: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    """Arrow, polars and DuckDB take the frame, and it comes back equal."""
    assert_restored(frame, through(storable(frame).reset_index()))


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Open a database; a server of PostgreSQL only where the environment names one."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    url = f"sqlite:///{tmp_path / 'a.sqlite'}"
    if request.param == "postgresql":
        url = os.environ.get("B24FRAMES_POSTGRESQL", "")
        if not url:
            skip_or_fail("postgresql", "B24FRAMES_POSTGRESQL names no server of PostgreSQL")
    engine = sqlalchemy.create_engine(url)
    yield engine
    engine.dispose()


def test_sql__restored(frame: pd.DataFrame, engine: Any) -> None:
    """A database gives back the same instants, in whatever zone they were: docs/how-to."""
    frame.b24.typed(tz="UTC").b24.storable().to_sql("b24frames_test", engine, if_exists="replace")
    raw = pd.read_sql_table("b24frames_test", engine, index_col="ID")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE b24frames_test")
    dates = list(raw.select_dtypes("datetime"))
    assert len(dates) == (5 if engine.name == "sqlite" else 0)
    raw[dates] = raw[dates].apply(lambda column: column.dt.tz_localize("UTC"))
    assert_restored(frame, raw)


def test_sql__types_of_postgresql(frame: pd.DataFrame) -> None:
    """PostgreSQL is told that dates are instants, and given neither text nor numbers for them."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    dialect = pytest.importorskip("sqlalchemy.dialects.postgresql").dialect()
    with pd.io.sql.SQLDatabase(sqlalchemy.create_engine("sqlite://")) as database:
        table = pd.io.sql.SQLTable("a", database, frame=frame.b24.storable(), index=True).table
    columns = str(sqlalchemy.schema.CreateTable(table).compile(dialect=dialect))
    types = dict(re.findall(r'"(\w+)" ([A-Z][A-Z ]+)', columns))
    dates = ["CREATED", "LAST_UPDATED", "START_TIME", "END_TIME", "DEADLINE"]
    assert {types[name].strip() for name in dates} == {"TIMESTAMP WITH TIME ZONE"}
    others = {types[name].strip() for name in ("ID", "COMPLETED", "SETTINGS", "RESULT_SUM")}
    assert others == {"BIGINT", "BOOLEAN", "TEXT", "FLOAT"}


@given(st.text(alphabet="=+-@\t\r\n'＝ax1 ") | st.text())
def test_escape_formula__undone(text: str) -> None:
    """No text begins like a formula after it, and every one comes back, whatever it was."""
    raw = pd.DataFrame({"SUBJECT": [text]}, dtype=object)
    safe = escape_formula(text)
    assert not safe.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))
    back = raw.assign(SUBJECT=[safe]).b24.typed(from_spreadsheet=True)
    assert back["SUBJECT"].tolist() == [text]
    assert raw.b24.typed()["SUBJECT"].tolist() == [text]


def test_spreadsheet_safe__touches_text_only() -> None:
    """Numbers, flags and times stay what they are; names of columns and nested text are safe."""
    frame = pd.DataFrame(
        {
            "OWNER_ID": pd.array([-5], "Int64"),
            "RESULT_SUM": pd.array([-1.5], "Float64"),
            "COMPLETED": pd.array([True], "boolean"),
            "duration": pd.to_timedelta(["-1h"]),
            "UF_A": pd.Series(["@SUM(A1)"], dtype=object),
            "kind": pd.Categorical(["+1"]),
            "stage": pd.Categorical([3]),
            "=name": pd.Series(["x"], dtype="string"),
        }
    )
    safe = spreadsheet_safe(frame)
    hour = pd.Timedelta("-1h")
    assert safe.iloc[0].tolist() == [-5, -1.5, True, hour, "'@SUM(A1)", "'+1", 3, "x"]
    assert list(safe.columns)[-1] == "'=name"
    assert frame.columns[-1] == "=name"


def test_spreadsheet_safe__other_objects() -> None:
    """Dates, months and decimal numbers become text without quotes; lists become JSON."""
    moments = pd.Series(pd.to_datetime(["2026-10-01T09:00"]))
    frame = pd.DataFrame(
        {"DAY": moments.dt.date, "MONTH": moments.dt.to_period("M"), "PRICE": [Decimal("1.50")]}
        | {"PARTS": [[1, "x"]]}
    )
    for safe in (frame.b24.spreadsheet_safe(), frame.set_index("MONTH").b24.spreadsheet_safe()):
        shown = safe.reset_index().iloc[0]
        assert shown[["DAY", "MONTH", "PRICE"]].tolist() == ["2026-10-01", "2026-10", "1.50"]
        assert shown["PARTS"] == '[1, "x"]'


def test_spreadsheet_safe__index_and_other_names() -> None:
    """The index is a column of the file, too, and columns may have any names."""
    frame = pd.DataFrame({7: ["=1"], "SUBJECT": ["=2"], "ORIGIN_ID": ["=3"], "ID": [4]})
    for index in (["SUBJECT"], ["SUBJECT", "ID", "ORIGIN_ID"]):
        file = spreadsheet_safe(frame.set_index(index)).to_csv()
        assert "'=2" in file
        assert not re.search("(^|[,\n])=", file)
    repeated = frame.set_axis(["A", "A", "B", "=C"], axis="columns").rename_axis("=D")
    assert not re.search("(^|[,\n])=", spreadsheet_safe(repeated).to_csv())


def test_spreadsheet_safe__dates_in_the_index(tmp_path: Path) -> None:
    """Dates of the index lose nothing either: a workbook takes none with a zone."""
    frame = build_frame([{"ID": "5", "CREATED": "2026-01-15T10:00:00+03:00"}], Layout())
    for index in (["CREATED"], ["ID", "CREATED"]):
        dated = frame.reset_index().set_index(index)
        safe = spreadsheet_safe(dated)
        safe.to_excel(tmp_path / "a.xlsx")
        assert safe.index.get_level_values("CREATED").tolist() == ["2026-01-15T07:00:00+00:00"]
        assert dated.index.names == index


def test_typed__nested_too_deeply() -> None:
    """Text that no parser can follow is a bad value like any other."""
    frame = pd.DataFrame({"SETTINGS": ["[" * 100_000]})
    with pytest.warns(BadValueWarning, match="SETTINGS: 1 value not understood"):
        assert frame.b24.typed()["SETTINGS"].isna().all()


def test_storable__half_a_character(tmp_path: Path) -> None:
    """What UTF-8 cannot write in the caller's own columns becomes visible; nested text stays."""
    frame = build_frame([{"ID": "5", "SETTINGS": {"A": "\udfff"}}], Layout())
    frame["note"] = pd.Series(["half \ud800"], frame.index, dtype=object)
    with pytest.warns(BadValueWarning, match="note: .* in the rows 5;"):
        stored = storable(frame)
    assert stored.at[5, "note"] == "half \\ud800"
    stored.to_csv(tmp_path / "a.csv")
    assert stored.b24.typed().at[5, "SETTINGS"] == {"A": "\udfff"}
    assert frame.at[5, "note"] == "half \ud800"


def test_spreadsheet_safe__control_characters(tmp_path: Path) -> None:
    """Characters that no workbook takes become visible, with a warning."""
    pytest.importorskip("openpyxl")
    frame = build_frame([{"ID": "5", "SUBJECT": "bell \x07, null \x00"}], Layout())
    with pytest.warns(BadValueWarning, match="SUBJECT"):
        safe = spreadsheet_safe(frame)
    safe.to_excel(tmp_path / "a.xlsx")
    assert pd.read_excel(tmp_path / "a.xlsx").at[0, "SUBJECT"] == "bell \\x07, null \\x00"


CELL = 32_767
LONG = {
    "plain": "x" * (CELL + 1),
    "with an apostrophe": "=" + "x" * (CELL - 1),
    "of characters that take two": "\U0001f91d" * (CELL // 2 + 1),
}


@pytest.mark.parametrize("kind", LONG)
def test_spreadsheet_safe__more_than_a_cell_holds(kind: str) -> None:
    """What a spreadsheet would cut is named with column and id, and is not cut here."""
    records = [{"ID": "5", "DESCRIPTION": LONG[kind]}, {"ID": "6", "DESCRIPTION": "x" * CELL}]
    frame = build_frame(records, Layout())
    with pytest.warns(BadValueWarning, match=r"DESCRIPTION: .* 32,767 .* in the rows 5;") as caught:
        safe = frame.b24.spreadsheet_safe()
    assert len(caught) == 1
    assert Path(caught[0].filename) == Path(__file__)
    assert safe.at[5, "DESCRIPTION"].removeprefix("'") == LONG[kind]


def test_spreadsheet_safe__nested_and_long() -> None:
    """Nested values are text there, of a length that counts as that of any other."""
    frame = build_frame([{"ID": "5", "SETTINGS": {"A": "x" * CELL}}], Layout())
    with pytest.warns(BadValueWarning, match="SETTINGS: .* in the rows 5;"):
        frame.b24.spreadsheet_safe()


def test_excel__cut(tmp_path: Path) -> None:
    """The way back names what a workbook has cut; what fits comes back without a word."""
    pytest.importorskip("openpyxl")
    lengths = {5: CELL + 10, 6: CELL - 1, 7: CELL}
    records = [{"ID": str(i), "DESCRIPTION": "x" * length} for i, length in lengths.items()]
    frame = build_frame(records, Layout(columns=("DESCRIPTION",)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns too, since its version 3
        frame.b24.spreadsheet_safe().to_excel(tmp_path / "a.xlsx", na_rep=NA)
    raw = pd.read_excel(tmp_path / "a.xlsx", index_col="ID", **AS_TEXT)
    with pytest.warns(BadValueWarning, match=r"DESCRIPTION: .* in the rows 5, 7; they may"):
        back = raw.b24.typed(from_spreadsheet=True)
    assert back["DESCRIPTION"].str.len().tolist() == [CELL, CELL - 1, CELL]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame.loc[[6]].b24.spreadsheet_safe()
        raw.iloc[[1]].b24.typed(from_spreadsheet=True)
        raw.b24.typed()
        raw.assign(DESCRIPTION="x" * (CELL + 1)).b24.typed(from_spreadsheet=True)  # of a CSV file


BOM = b"\xef\xbb\xbf"


def by_command_line(portal: PracticePortal, folder: Path) -> Path:
    """Write a CSV file from the command line."""
    assert main(["read", "5,6", "--portal", portal.url, "--to", str(folder / "out.csv")]) == 0
    return folder / "out.csv"


def by_panel(portal: PracticePortal, folder: Path) -> Path:
    """Write a CSV file from the panel, into the working folder."""
    panel = b24.LookupPanel(portal)
    panel.lookup("5,6")
    panel._results._save(".csv")
    (file,) = folder.glob("activities-*.csv")
    return file


@pytest.mark.parametrize("write", [by_command_line, by_panel])
def test_csv_for_people__opens_in_excel(
    portal: PracticePortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any
) -> None:
    """Excel sees by its first bytes that a file is UTF-8, and pandas reads it as any other."""
    portal.server.touch(5, SUBJECT="=Звонок Анне")
    monkeypatch.chdir(tmp_path)
    file = write(portal, tmp_path)
    content = file.read_bytes()
    assert content.startswith(BOM + b"ID,")
    assert content.count(BOM) == 1
    frame = b24.read_activities([5, 6], portal)
    for engine in ("c", "python"):
        raw = pd.read_csv(file, index_col="ID", engine=engine)
        assert raw.index.name == "ID"
        back = raw.b24.typed(from_spreadsheet=True)
        assert back["SUBJECT"].tolist() == ["=Звонок Анне", frame.at[6, "SUBJECT"]]
        assert_restored(with_na_for_empty(frame), raw, from_spreadsheet=True)


def test_command_line__files_come_back(
    portal: PracticePortal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the command line writes is safe, and comes back."""
    portal.server.touch(5, SUBJECT="=HYPERLINK(1)", LOCATION="", RESULT_SUM="-2.5")
    portal.server.touch(6, SUBJECT="half \ud83d", SETTINGS={"A": {"B": "\ud83d"}})

    def write(suffix: str) -> Path:
        file = tmp_path / f"out{suffix}"
        assert main(["read", "5,6", "--portal", portal.url, "--to", str(file)]) == 0
        assert capsys.readouterr().err.count("warning: SUBJECT") == 1
        return file

    csv = pd.read_csv(write(".csv"), index_col="ID")
    assert csv.at[5, "SUBJECT"] == "'=HYPERLINK(1)"
    assert csv.at[5, "RESULT_SUM"] == -2.5
    assert csv.b24.typed(from_spreadsheet=True).at[5, "SUBJECT"] == "=HYPERLINK(1)"
    records = json.loads(write(".json").read_text(encoding="utf-8"))
    restored = pd.DataFrame(records, dtype=object).b24.typed().set_index("ID")
    assert restored.at[6, "SUBJECT"] == "half \\ud83d"
    assert restored.at[6, "SETTINGS"] == {"A": {"B": "\ud83d"}}
    assert restored.at[5, "LOCATION"] == ""
    pytest.importorskip("pyarrow")
    parquet = pd.read_parquet(write(".parquet")).b24.typed()
    assert parquet.at[6, "SETTINGS"] == {"A": {"B": "\ud83d"}}


def test_storable__a_frame_of_its_own(portal: PracticePortal) -> None:
    """What is written into the result is not written into the frame."""
    frame = b24.read_activities([5, 6], portal)
    for made in (frame.b24.storable(), frame.b24.spreadsheet_safe()):
        made.loc[5, "OWNER_ID"] = -1
    assert frame.loc[5, "OWNER_ID"] != -1


@pytest.mark.filterwarnings("ignore::b24frames.errors.NamesMissingWarning")
def test_csv__names_calls_and_users(portal: PracticePortal, backend: Any, tmp_path: Path) -> None:
    """What can stand beside activities comes back as well as they do."""
    options: Any = {"dtype_backend": backend}
    found = b24.find_activities([("TYPE_ID", "==", "call")], portal, **options)
    calls = found.b24.calls(portal)
    users = b24.read_users(portal=portal, **options)
    assert len(calls) > 1
    for frame in (found.join(found.b24.names(portal)), calls, users):
        frame.to_csv(tmp_path / "a.csv", na_rep=NA)
        again = pd.read_csv(tmp_path / "a.csv", **AS_TEXT).set_index("ID")
        assert_frame_equal(again.b24.typed(**options, on_bad_value="raise"), frame)
