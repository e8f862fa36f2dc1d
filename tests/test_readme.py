"""The code of README.md runs as it stands, with fewer points and steps."""

import re
from pathlib import Path

import pytest
import torch

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=lambda code: code.splitlines()[0])
def test_code_runs(code):
    torch.manual_seed(0)
    names = {}
    for long, short in (("10_000", "100"), ("Adam(1000)", "Adam(3)"), ("LBFGS(5000)", "LBFGS(3)")):
        code = code.replace(long, short)
    exec(code, names)
    assert any(parameter.grad.abs().sum() > 0 for parameter in names["net"].parameters())
