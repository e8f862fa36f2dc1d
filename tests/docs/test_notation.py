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
        ("m <- beta1 m / (1 - beta1^t)", r"m\leftarrow \beta _{1}\,m/(1-\beta _{1}^{t})"),
        ("l_ij = x_(i-1)j", r"l_{ij}=x_{i-1,j}"),
        ("p_(1) <= p_(M)", r"p_{(1)}\le p_{(M)}"),
        ("D^(m)_ij = D^(m-1)_ii", r"D^{(m)}_{ij}=D^{(m-1)}_{ii}"),
        ("min_w max_lambda f", r"\operatorname{min}_{w}\,\operatorname{max}_{\lambda }\,f"),
        ("d <= max_norm, z = phi_before", r"d\le \texttt{max_norm},\ z=\phi _{\mathrm{before}}"),
        ("c = the k-th one", r"c=\mathrm{the}\ k\text{-}\mathrm{th}\ \mathrm{one}"),
        ("s = union of dA x B", r"s=\mathrm{union}\ \mathrm{of}\ dA\times B"),
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
    """Files, and all that is indented in a docstring of the package, outside its sections."""
    for path in sorted((ROOT / "pyneural").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                for part in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                    if part.startswith("    ") and ">>>" not in part:
                        yield path, textwrap.dedent(part)


def is_table(block):
    """Whether all lines have columns, two spaces or more apart."""
    return all("  " in line.strip() for line in block.splitlines())


def is_program(block):
    try:
        ast.parse(f"def f():\n{textwrap.indent(block, '    ')}")
    except SyntaxError:
        return False
    return True


def test_the_equations_of_the_package_are_typeset():
    """What is not is a program or a table, of the demos alone also something else."""
    blocks = [block for path, block in indented_blocks() if "demos" not in path.parts]
    others = [block for block in blocks if notation.latex(block) is None]
    assert len(blocks) - len(others) > 200
    left = [block for block in others if not is_table(block) and not is_program(block)]
    assert not left, "\n\n".join(left)


def test_the_equations_of_the_package_are_whole():
    for equation in filter(None, (notation.latex(block) for _, block in indented_blocks())):
        depth = 0
        for sign in re.sub(r"\\[{}]", "", equation):
            depth += (sign == "{") - (sign == "}")
            assert depth >= 0, equation
        assert depth == 0, equation
