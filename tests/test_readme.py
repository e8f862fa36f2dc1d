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
    for long, short in (("2_000", "100"), ("time_limit=40", "time_limit=0")):
        code = code.replace(long, short)
    try:
        exec(code, names)
    finally:
        torch.set_default_dtype(torch.float32)
    if "pinn" in names:
        assert names["u"].shape == (1, 1)
        assert names["u"].isfinite().all()
    else:
        assert any(parameter.grad.abs().sum() > 0 for parameter in names["net"].parameters())
