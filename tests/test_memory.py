"""What a limit of a container or job leaves free."""

import pytest
import torch

from pyneural import memory

GB = 10**9
CPU = torch.device("cpu")


def group(folder, version, limit, used, inactive):
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else (
        "memory.limit_in_bytes", "memory.usage_in_bytes")  # fmt: skip
    for name, value in zip(names, (limit, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    name = "inactive_file" if version == 2 else "total_inactive_file"
    (folder / "memory.stat").write_text(f"anon 5\n{name} {inactive}\nactive_file 7\n")


@pytest.fixture
def system(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN", tmp_path / "own")
    monkeypatch.setattr(memory, "_of_machine", lambda: 100 * GB)
    return tmp_path


@pytest.mark.parametrize("version", [1, 2])
def test_files_that_were_read_count_as_free(system, version):
    group(system / ("" if version == 2 else "memory"), version, 10 * GB, 10 * GB, 6 * GB)
    assert memory.available_memory(CPU) == 6 * GB


@pytest.mark.parametrize("version", [1, 2])
def test_the_own_group_and_those_around_it(system, version):
    line = "0::/a/b" if version == 2 else "9:cpu:/\n4:cpuset,memory:/a/b\n0::/"
    (system / "own").write_text(f"{line}\n")
    root = system / ("" if version == 2 else "memory")
    group(root / "a/b", version, 10 * GB, 2 * GB, 0)
    assert memory.available_memory(CPU) == 8 * GB
    group(root / "a", version, 20 * GB, 15 * GB, GB)
    assert memory.available_memory(CPU) == 6 * GB
    group(root / "a", version, "max", 15 * GB, GB)
    assert memory.available_memory(CPU) == 8 * GB


def test_a_path_of_the_host_is_not_there_in_a_container(system):
    (system / "own").write_text("0::/../docker/123\n")
    group(system, 2, 10 * GB, 4 * GB, GB)
    assert memory.available_memory(CPU) == 7 * GB


def test_without_a_limit_it_is_that_of_the_machine(system):
    assert memory.available_memory(CPU) == 100 * GB
    group(system, 2, "max", 4 * GB, GB)
    assert memory.available_memory(CPU) == 100 * GB
