"""Equations of the docstrings in LaTeX."""

import ast
import importlib.util
import re
import textwrap

import pytest

from tests.docs.pages import DOCS, ROOT

spec = importlib.util.spec_from_file_location("notation", DOCS / "extensions" / "notation.py")
notation = importlib.util.module_from_spec(spec)
spec.loader.exec_module(notation)


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ("a_(l-1) W_l", None),  # no relation: no equation
        ("y = f(x W^T + b)", r"y=f(x\,W^{\mathsf T}+b)"),
        ("u_t + u u_x = nu u_xx", r"u_{t}+u\,u_{x}=\nu \,u_{xx}"),
        ("y = 1 / sqrt(1 + x^2)", r"y=1/\sqrt{1+x^{2}}"),
        ("a = int_0^1 f dt", r"a=\int _{0}^{1}\,f\,dt"),
        ("l_ij = x_(i-1)j", r"l_{ij}=x_{i-1j}"),
        ("x ~ N(0, 1),  t <= T", r"x\sim N(0,1),\qquad t\le T"),
        ("A = B x C on (0, 1] x (-1, 1)", r"A=B\times C\ \mathrm{on}\ (0,1]\times (-1,1)"),
        ("w <- w - learning_rate d", r"w\leftarrow w-\texttt{learning_rate}\ d"),
        ("64-256-z = the widths", r"64\text{-}256\text{-}z=\mathrm{the}\ \mathrm{widths}"),
        ("images  8 x 8 pixels, downloaded", None),
        ('x = y["name"]', None),
        ("def f(x): return x == 2", None),
    ],
)
def test_latex(plain, expected):
    found = notation.latex(plain)
    assert (found == expected) if expected is None else (found.strip() == expected)


def test_lines_are_aligned_where_their_relations_are():
    found = notation.latex("a   = b\nc_2 = d")
    assert found == "\\begin{aligned}\na& =b \\\\\nc_{2}& =d\n\\end{aligned}"


def indented_blocks():
    """Everything that is indented in a docstring of the package, outside its sections."""
    for path in sorted((ROOT / "pyneural").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                for part in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                    if part.startswith("    ") and ">>>" not in part:
                        yield textwrap.dedent(part)


def test_the_equations_of_the_package_are_whole():
    found = [equation for block in indented_blocks() if (equation := notation.latex(block))]
    assert len(found) > 200
    for equation in found:
        depth = 0
        for sign in re.sub(r"\\[{}]", "", equation):
            depth += (sign == "{") - (sign == "}")
            assert depth >= 0, equation
        assert depth == 0, equation
