"""What a table of the user's own may hold: refused or left out, and named."""

import numpy as np
import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.experiments.comparison.data import Preparation, load_data
from pyneural.experiments.comparison.user_table import clean_table, read_file


def rows(count=300, columns=3):
    return np.random.default_rng(0).normal(size=(count, columns))


def frame(**columns):
    pandas = pytest.importorskip("pandas")
    values = rows()
    return pandas.DataFrame({"a": values[:, 0], "b": values[:, 1], **columns})


def test_text_is_refused_by_name():
    table = frame(kind=["muon", "tau", "electron"] * 100)
    expected = r"expected columns of numbers, got column kind with 'muon'; .*--drop 'kind'"
    with pytest.raises(ArgumentError, match=expected):
        clean_table(table)
    assert clean_table(table, ["kind"]).names == ["a", "b"]
    with pytest.raises(
        ArgumentError, match=r"drop: expected names .* got \['sort'\]; .*a, b, kind"
    ):
        clean_table(table, ["sort"])


def test_numbers_with_a_few_texts_and_times_are_refused():
    pandas = pytest.importorskip("pandas")
    times = pandas.date_range("2020-01-01", periods=300)
    with pytest.raises(ArgumentError, match="column t with"):
        clean_table(frame(t=times))
    with pytest.raises(ArgumentError, match="column c with '-'"):
        clean_table(frame(c=["1.5"] * 299 + ["-"]))  # as pandas reads such a column
    assert clean_table(frame(c=[True, False] * 150)).names == ["a", "b", "c"]


def test_missing_and_infinite_values_are_counted():
    x = rows()
    x[:7, 1], x[5:9, 2] = np.nan, np.inf
    table = clean_table(x)
    assert len(table.x) == 291
    assert table.notes == [
        "9 of 300 rows left out: missing values in column 1 (7); infinite values in column 2 (4)"
    ]
    x[:200, 0] = np.nan
    with pytest.raises(ArgumentError, match=r"200 of 300 .*column 0 \(200\).*--drop"):
        clean_table(x)


def test_constants_copies_and_few_rows():
    x = rows()
    x[:, 2] = 4.0
    x[50:60] = x[:10]
    table = clean_table(x)
    assert table.names == ["0", "1"]
    assert table.notes == [
        "column 2 left out: it is 4 in all rows", "10 of 300 rows left out: copies of others",
    ]  # fmt: skip
    counts = np.random.default_rng(0).integers(0, 3, (300, 2)).astype(float)
    assert len(clean_table(counts).x) == 300  # of whole numbers copies are no mistake
    with pytest.raises(ArgumentError, match="200 rows or more, got 199"):
        clean_table(rows(199))
    with pytest.raises(ArgumentError, match="two columns or more"):
        clean_table(rows(300, 1))


def test_columns_that_follow_from_others_are_refused():
    x = rows()
    data = load_data(np.column_stack([x, x[:, 0] - x[:, 1]]))
    with pytest.raises(ArgumentError, match=r"column 3 \('3'\) follows .*--drop"):
        Preparation(data, data.split(0)[0])


def test_files(tmp_path):
    x = rows()
    np.save(tmp_path / "x.npy", x)
    assert load_data(tmp_path / "x.npy").x.shape == (300, 3)
    fields = np.array(list(map(tuple, x)), dtype=[("u", "f8"), ("g", "f8"), ("r", "f4")])
    np.save(tmp_path / "fields.npy", fields)
    assert load_data(tmp_path / "fields.npy").columns == ("u", "g", "r")
    pytest.importorskip("pandas")
    header = "u,g,name\n" + "\n".join(f"{a},{b},x" for a, b, _ in x)
    (tmp_path / "x.csv").write_text(header)
    assert load_data(tmp_path / "x.csv", drop=["name"]).columns == ("u", "g")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ArgumentError, match="can be read in"):
        read_file(tmp_path / "empty.csv")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ArgumentError, match="can be read in"):
        read_file(tmp_path / "objects.npy")
    with pytest.raises(ArgumentError, match=r"a file .csv, .parquet, .npy"):
        read_file(tmp_path / "x.fits")
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "other.csv")


def table_with_everything():
    generator = torch.Generator().manual_seed(0)
    normal, counts, heavy = torch.randn(3, 2000, generator=generator).double()
    x = torch.stack([1e6 + normal, (3 * counts).floor(), (3 * heavy).exp()], 1)
    return load_data(x)


def test_preparation_goes_back():
    data = table_with_everything()
    preparation = Preparation(data, data.x)
    assert [note.rpartition(" ")[2] for note in preparation.notes] == ["1", "2"]
    rows = preparation.forward(data.x).rows
    assert torch.allclose(rows.double().T.cov(), torch.eye(3).double(), atol=0.02)
    back = preparation.inverse(rows)
    assert torch.equal(back[:, 1], data.x[:, 1])
    assert torch.allclose(back, data.x, rtol=1e-4, atol=1e-3)  # in units of float32 rows


def test_log_determinant_is_that_of_the_jacobian():
    data = table_with_everything()
    preparation = Preparation(data, data.x)
    x = data.x[:5]
    jacobians = torch.autograd.functional.jacobian(
        lambda x: preparation.whitening().call_and_ladj(preparation._compressed(x)[0])[0], x
    )
    exact = torch.stack([jacobians[i, :, i].det().abs().log() for i in range(5)])
    # The noise of the whole numbers, whose column is not compressed, changes nothing.
    assert torch.allclose(preparation.forward(x).log_det, exact, atol=1e-8)


def test_repeated_values_have_no_density():
    x = rows(2000)
    x[:300, 1] = -99.5
    data = load_data(x)
    preparation = Preparation(data, data.x)
    assert not preparation.has_density
    assert "1 is -99.5 in 15% of the rows" in " ".join(preparation.notes)


def test_images_keep_their_levels(tmp_path):
    images = np.random.default_rng(0).integers(0, 16, (250, 8, 6)).astype(np.uint8)
    data = load_data(images)
    assert (data.shape, data.levels) == ((1, 8, 6), 16)
    preparation = Preparation(data, data.x)
    forward = preparation.forward(data.x)
    assert torch.equal(preparation.inverse(forward.rows), data.x)
    assert forward.log_det[0].item() == pytest.approx(-48 * np.log(16))
    assert torch.equal(preparation.of_unit(preparation.unit(data.x)), data.x)
    real = load_data(images[:, None] / 7.0)
    assert (real.shape, real.levels) == ((1, 8, 6), None)
    with pytest.raises(ArgumentError, match="images that differ"):
        load_data(np.ones((250, 8, 8)))


def test_splits_are_the_seeds(tmp_path):
    data = load_data(rows())
    train, held_out = data.split(3)
    assert (len(train), len(held_out)) == (240, 60)
    assert torch.equal(data.split(3)[1], held_out)
    assert not torch.equal(data.split(4)[1], held_out)
    both = torch.cat([train, held_out])
    assert torch.equal(both.sort(0).values, data.x.sort(0).values)
    few = load_data(rows(1000), rows=400)
    assert len(few.x) == 400
    assert "400 of 1,000 rows taken" in few.notes[0]


def read(lines, path):
    path.write_text("\n".join(lines))
    return clean_table(read_file(path))


@pytest.mark.parametrize("end", ["", ","])
@pytest.mark.parametrize("whole", [False, True])
def test_a_first_line_of_numbers_is_a_row(whole, end, tmp_path):
    """Of whole numbers too, with a value twice or a missing one in it."""
    pytest.importorskip("pandas")
    values = (100 * rows(columns=3)).round() if whole else rows(columns=3)
    values[0, 1] = values[0, 0]
    lines = [",".join(f"{value:g}" for value in row) + end for row in values.tolist()]
    table = read(lines, tmp_path / "a.csv")
    assert table.x == pytest.approx(values, rel=1e-5)
    assert table.names == ["0", "1", "2"]
    assert table.notes == [
        "the first line holds numbers and is taken for a row, the columns are numbered from 0 to "
        "2: if it holds names, begin each with a letter"
    ]
    first = lines[0].split(",")
    for missing in ("", "NA", "null", "nan"):
        table = read([",".join([missing, *first[1:]]), *lines[1:]], tmp_path / "a.csv")
        assert "1 of 300 rows left out: missing values in column 0 (1)" in table.notes


def test_numbers_of_columns_are_names(tmp_path):
    """As pandas writes them; a note where they may be a row."""
    pytest.importorskip("pandas")
    lines = [",".join(map(str, row)) for row in rows(columns=2).tolist()]
    table = read(["0,1", *lines], tmp_path / "a.csv")
    assert (len(table.x), table.notes) == (300, [])
    counts = [f"{i % 7},{i % 3}" for i in range(300)]
    table = read(["0,1", *counts], tmp_path / "a.csv")
    assert len(table.x) == 300
    assert table.notes == [
        "the first line, 0, 1, is taken for the names of the columns, as pandas numbers them: if "
        "it is a row, write names above it"
    ]


def test_names_that_only_python_reads_as_numbers_are_names(tmp_path):
    pytest.importorskip("pandas")
    lines = [",".join(map(str, row)) for row in rows(columns=2).tolist()]
    table = read(["1_0,2_1", *lines], tmp_path / "a.csv")
    assert (table.names, table.notes) == (["1_0", "2_1"], [])


def test_names_of_a_frame_that_are_numbers_are_noted(tmp_path):
    pandas = pytest.importorskip("pandas")
    names = ["3", "5", "2"]  # as of a row that pandas took for names
    table = clean_table(pandas.DataFrame(rows(), columns=names))
    expected = "the columns are named 3, 5, 2: if these are data, write names above them"
    assert table.notes == [expected]
    assert clean_table(pandas.DataFrame(rows())).notes == []
    assert clean_table(pandas.DataFrame(rows()), ["1"]).notes == []


def test_archives_and_other_objects_are_refused(tmp_path):
    with open(tmp_path / "a.npy", "wb") as file:
        np.savez(file, a=rows())
    with pytest.raises(ArgumentError, match="a table that can be read in"):
        load_data(tmp_path / "a.npy")
    with pytest.raises(ArgumentError, match="an array or a frame of pandas, got list"):
        load_data(rows().tolist())
    with pytest.raises(ArgumentError, match="column 0 with complex128"):
        clean_table(rows() + 1j)
    assert load_data(torch.from_numpy(rows()).requires_grad_()).x.shape == (300, 3)


def lines_of(separator=",", point=".", names="a,b,c"):
    values = [[f"{value:.6f}".replace(".", point) for value in row] for row in rows().tolist()]
    return "\n".join(separator.join(row) for row in [names.split(","), *values])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_separators_and_byte_order_marks(separator, mark, tmp_path):
    pytest.importorskip("pandas")
    (tmp_path / "a.csv").write_text(mark + lines_of(separator), encoding="utf-8")
    table = clean_table(read_file(tmp_path / "a.csv"))
    assert (table.names, table.notes) == (["a", "b", "c"], [])
    assert table.x == pytest.approx(rows(), abs=1e-6)


def test_separators_at_the_ends_of_lines_are_no_column(tmp_path):
    names, *values = lines_of().split("\n")
    (tmp_path / "a.csv").write_text("\n".join([names, *(f"{line}," for line in values)]))
    assert clean_table(read_file(tmp_path / "a.csv")).x == pytest.approx(rows(), abs=1e-6)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lines_of(";", ","), "column a with '0,125730'.*--drop 'a,b,c', .*decimal points"),
        (lines_of(names="a,b,a"), r"a name for each column, got \['a'\] twice; rename them"),
        (lines_of().replace("a,b,c", "a,b,c\nm,s,kg"), "column a with 'm'; .*column c with 'kg'"),
        ("a,b,c\n", "200 rows or more, got 0; give more"),
        ("a,b,c\n1,2,3\n", "200 rows or more, got 1; give more"),
        ("a,b\n" + "x,y\n" * 300, "column a with 'x'; column b with 'y'"),
        (lines_of(names="a,b"), r"as there are names \(2\), got more in .*above each column"),
        ('"' + "a" * 200_000 + '"\n1\n', "larger than field limit"),
        (lines_of() + "\n1,2,3,4,5\n", "Expected 3 fields in line 302, saw 5"),
        (lines_of().encode("utf-16"), "can't decode byte.*UTF-8"),
        (b"\x89PNG\r\n", "can't decode byte 0x89.*write the file anew in UTF-8"),
    ],
)
def test_files_that_are_refused(content, words, tmp_path):
    pytest.importorskip("pandas")
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ArgumentError, match=words):
        load_data(path)


def test_few_rows_are_told_with_those_that_were_left_out():
    x = rows()
    x[:140, 2] = np.nan
    with pytest.raises(ArgumentError, match=r"got 160 \(140 of 300 rows left out: missing values"):
        clean_table(x)


def test_columns_without_a_name_and_spaces_around_names(tmp_path):
    pytest.importorskip("pandas")
    numbered = [f"{i - 1 if i else ''},{line}" for i, line in enumerate(lines_of().splitlines())]
    (tmp_path / "a.csv").write_text("\n".join(numbered))
    table = clean_table(read_file(tmp_path / "a.csv"))
    assert table.notes == [
        "no name above a column: if it numbers the rows, write --drop 'Unnamed: 0'"
    ]
    assert clean_table(read_file(tmp_path / "a.csv"), ["Unnamed: 0"]).names == ["a", "b", "c"]
    (tmp_path / "a.csv").write_text(lines_of(names="a, b , c"))
    assert clean_table(read_file(tmp_path / "a.csv"), ["b"]).names == ["a", "c"]


def test_parquet(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "a.parquet"
    path.write_bytes(b"no parquet")

    def without_pyarrow(path):
        raise ImportError("Unable to find a usable engine; tried using: 'pyarrow', 'fastparquet'.")

    with monkeypatch.context() as patch:
        patch.setattr(pandas, "read_parquet", without_pyarrow)
        with pytest.raises(ImportError, match=r"expected pyarrow .*; pip install pyarrow"):
            load_data(path)
    pytest.importorskip("pyarrow")
    with pytest.raises(ArgumentError, match=r"can be read in .*a\.parquet"):
        load_data(path)
    table = frame(kind=["muon", "tau"] * 150, hits=pandas.array([1, None, 3] * 100, dtype="Int64"))
    table.to_parquet(path)
    with pytest.raises(ArgumentError, match="column kind with 'muon'"):
        load_data(path)
    found = load_data(path, ["kind"], rows=200)
    assert found.columns == ("a", "b", "hits")
    assert found.notes == ("100 of 300 rows left out: missing values in column hits (100)",)


def test_mnist_by_a_stand_in(monkeypatch):
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (300, 28, 28)))
    labels = torch.arange(300) % 10
    halves = [
        (part.float() / 255, y) for part, y in ((x[:200], labels[:200]), (x[200:], labels[200:]))
    ]
    monkeypatch.setattr("pyneural.data.mnist", lambda: tuple(halves))
    found = load_data("mnist")
    assert (found.shape, found.levels, len(found.x)) == ((1, 28, 28), 256, 300)
    assert torch.equal(found.x, x.flatten(1).double())
    assert torch.equal(found.labels, labels)
    with pytest.raises(ArgumentError, match="drop: expected a table of your own, got mnist"):
        load_data("mnist", ["a"])


def test_masked_values_are_missing():
    table = clean_table(np.ma.masked_greater(rows(), 2.0))
    assert table.notes[0].startswith(f"{(rows() > 2).any(1).sum()} of 300 rows left out: missing")


def test_tensors_of_every_kind():
    x = torch.from_numpy(rows())
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        assert load_data(x.to(dtype)).x.shape == (300, 3)
    assert load_data((9 * x).long()).columns == ("0", "1", "2")
