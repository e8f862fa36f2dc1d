"""What is read of a compiled kernel, and what counts as worse."""

import shutil
import struct
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "build_tools"))

import kernel_table

LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z5firstv' for 'sm_80'
ptxas info    : Function properties for _Z5firstv
    32 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 166 registers, used 1 barriers, 40960 bytes smem, 472 bytes cmem[0]
ptxas info    : Function properties for _Z6calledv
    0 bytes stack frame, 2 bytes spill stores, 0 bytes spill loads
ptxas info    : Compiling entry function '_Z6secondv' for 'sm_80'
ptxas info    : Function properties for _Z6secondv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers, 380 bytes cmem[0]
"""
ROW = {"registers": 100, "spilled": 0, "shared": 4096, "instructions": 1000}


def elf(sections):
    """An ELF file of 64 bits with these sections, of a name and bytes, and their names last."""
    names = b"\0".join(name.encode() for name, _ in sections) + b"\0.names\0"
    contents = [content for _, content in sections] + [names]
    offset, name_at, headers, body = 64, 0, b"", b""
    for name, content in zip([n for n, _ in sections] + [".names"], contents, strict=True):
        headers += struct.pack("<IIQQQQIIQQ", name_at, 1, 0, 0, offset, len(content), 0, 0, 1, 0)
        name_at += len(name) + 1
        offset += len(content)
        body += content
    head = bytearray(64)
    struct.pack_into("<Q", head, 0x28, offset)
    struct.pack_into("<HHH", head, 0x3A, 64, len(contents), len(contents) - 1)
    return bytes(head) + body + headers


def test_instructions_are_counted_from_the_code():
    sections = [(".text._Z5firstv", bytes(16 * 7)), (".nv.info", bytes(5)), (".text.b", bytes(32))]
    assert dict(kernel_table.code_sizes(elf(sections))) == {"_Z5firstv": 7, "b": 2}


def test_resources_with_those_of_called_functions():
    assert dict(kernel_table.resources(LOG)) == {
        "_Z5firstv": {"registers": 166, "spilled": 14, "shared": 40960},
        "_Z6secondv": {"registers": 8, "spilled": 0, "shared": 0},
    }


def test_products_that_wait_for_one_another_are_a_loss():
    loss = "ptxas info    : (C7520) Potential Performance Loss: wgmma.mma_async instructions are"
    assert kernel_table.losses(LOG) == []
    assert kernel_table.losses(LOG + loss + " serialized\n") == [loss + " serialized"]


@pytest.mark.skipif(shutil.which("c++filt") is None, reason="needs c++filt")
def test_names_are_those_of_the_source_without_what_all_share():
    names = {
        "_ZN8pyneural5dense12_GLOBAL__N_114product_kernelILNS_5AlongE0ELS3_1EfEEvNS0_13Product"
        "ParamsIT1_EE": "dense::product_kernel<0, 1, float>",
        "_ZN8pyneural12_GLOBAL__N_112store_kernelENS0_6ValuesEPl": "store_kernel",
    }
    assert kernel_table.short_names(list(names)) == names


@pytest.mark.parametrize(
    ("change", "worse"),
    [
        ({}, []),
        ({"registers": 110, "instructions": 1100}, []),
        ({"registers": 80, "shared": 0, "instructions": 10}, []),
        ({"registers": 111}, ["a<float> for sm_80: registers 100 -> 111"]),
        ({"spilled": 4}, ["a<float> for sm_80: spilled 0 -> 4"]),
        ({"shared": 4097}, ["a<float> for sm_80: shared 4096 -> 4097"]),
        ({"instructions": 1101}, ["a<float> for sm_80: instructions 1000 -> 1101"]),
    ],
)
def test_only_growth_is_worse(change, worse):
    found = {"a<float>": {"sm_80": {**ROW, **change}}, "new": {"sm_80": ROW}}
    kept = {"a<float>": {"sm_80": ROW, "sm_90a": ROW}, "gone": {"sm_80": ROW}}
    assert kernel_table.regressions(kept, found) == worse


def test_a_gpu_is_not_taken_for_a_folder(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kernel_table.py", "--of", "rnn", "sm_100"])
    with pytest.raises(SystemExit):
        kernel_table.main()
    assert "got sm_100; name GPUs before --of" in capsys.readouterr().err


@pytest.mark.skipif(not kernel_table.KEPT.exists(), reason="nothing is kept yet")
def test_what_is_kept_is_complete_and_small():
    kept = kernel_table.json.loads(kernel_table.KEPT.read_text())
    assert kernel_table.KEPT.stat().st_size < 100_000
    for rows in kept["kernels"].values():
        for architecture, row in rows.items():
            assert architecture in kernel_table.ARCHITECTURES
            assert tuple(row) == kernel_table.COLUMNS
