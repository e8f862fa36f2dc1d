"""ActNorm: what it takes from its first batch, in one process and in two."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from pyneural.errors import ArgumentError
from pyneural.models import ActNorm
from tests.processes import run_on_two_processes


def test_act_norm_takes_its_first_batch_alone():
    norm, x = ActNorm(3), 5 * torch.randn(200, 3) + torch.tensor([1.0, 2.0, 3.0])
    norm.eval()
    assert torch.equal(norm()(x), x)
    norm.train()
    y = norm()(x)
    torch.testing.assert_close(y.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(0), torch.ones(3))
    assert torch.equal(norm()(x[:50]), y[:50])
    other = ActNorm(3)
    other.load_state_dict(norm.state_dict())
    assert torch.equal(other()(10 * x), norm()(10 * x))
    with pytest.raises(ValueError, match=r"ActNorm: first batch: .* column 0 constant"):
        ActNorm(3)()(torch.ones(5, 3))


def test_first_batches_without_a_variance_are_refused():
    with pytest.raises(ArgumentError, match=r"two or more rows, got 1; give a larger batch, or"):
        ActNorm(3)()(torch.randn(1, 3))
    x = torch.randn(5, 3)
    x[2:4, 1] = torch.nan
    with pytest.raises(ArgumentError, match=r"got 2 that are nan or infinite in column 1; remove"):
        ActNorm(3)()(x)
    norm = ActNorm(3)
    with pytest.raises(ArgumentError):
        norm()(x)
    assert not norm.initialised
    assert torch.equal(norm.eval()()(x[:1]), x[:1])


def test_large_means_and_bfloat16_keep_the_scale():
    x = torch.randn(100_000, 1) * 1e-3 + 100
    norm = ActNorm(1)
    torch.testing.assert_close(norm()(x).std(0), torch.ones(1), rtol=1e-3, atol=0)
    norm = ActNorm(1).to(torch.bfloat16)
    y = norm()(torch.randn(100_000, 1).to(torch.bfloat16) * 5)
    torch.testing.assert_close(y.float().std(0), torch.ones(1), rtol=2e-2, atol=0)


def test_what_was_loaded_waits_for_its_first_batch_if_it_has_had_none():
    fresh, norm, x = ActNorm(2).state_dict(), ActNorm(2), torch.randn(50, 2)
    norm()(x)
    norm.load_state_dict(fresh)
    y = norm()(7 * x + 3)
    assert norm.initialised
    torch.testing.assert_close(y.std(0), torch.ones(2))


SCRIPT = """
import os, sys
import torch
from safetensors.torch import save_file
from pyneural.errors import ArgumentError
from pyneural.models import ActNorm

torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
x = torch.arange(21.0).reshape(7, 3).square()
found = {}
# Rows of this process: uneven ones, one each, none in one of them.
for name, begin, split, end in (("uneven", 0, 2, 7), ("one each", 0, 1, 2), ("none", 0, 0, 7)):
    norm = ActNorm(3)
    norm()(x[begin:split] if rank == 0 else x[split:end])
    found |= {f"{name} {key}": value for key, value in norm.state_dict().items()}
refused = x.clone()
refused[0, 0], refused[:, 1] = torch.nan, 4.0
for rows in (x[:1], refused, refused[1:]):  # seen by both, though the fault is in one or in neither
    try:
        ActNorm(3)()(rows[:1] if rank == 0 else rows[1:])
    except ArgumentError:
        continue
    raise SystemExit("not refused")
save_file(found, os.path.join(sys.argv[1], f"rank{rank}.safetensors"))
torch.distributed.destroy_process_group()
"""


def test_two_processes_take_the_batch_of_both(tmp_path):
    run_on_two_processes(SCRIPT, tmp_path)
    first, second = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    x = torch.arange(21.0).reshape(7, 3).square()
    for name, rows in {"uneven": x, "one each": x[:2], "none": x}.items():
        alone = ActNorm(3)
        alone()(rows)
        for key, value in alone.state_dict().items():
            assert torch.equal(first[f"{name} {key}"], second[f"{name} {key}"])
            torch.testing.assert_close(first[f"{name} {key}"], value)
