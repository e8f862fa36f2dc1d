"""Builds the extension modules of pyneural against the torch of the environment.

`pyneural._C`        schemas, bindings and `build_info()`
`pyneural._cpu_*`    the CPU kernels, the same sources once for each instruction set
`pyneural._cuda`     the CUDA kernels, where torch has CUDA and nvcc is found

Environment: `CXX`, `CUDA_HOME`, `PYNEURAL_CUDA` (0 or 1), `TORCH_CUDA_ARCH_LIST`, `MAX_JOBS`,
`CFLAGS` (-g for debug information), `PYNEURAL_BUILD_ISAS` (of default, avx2 and avx512; all by default).
"""

from __future__ import annotations

import json
import os
import platform
import sys
import sysconfig
from collections.abc import Sequence
from copy import copy
from pathlib import Path

import setuptools

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "build_tools"))

from environment import (  # noqa: E402
    BuildError,
    check_python_headers,
    check_setuptools,
    find_compiler,
    find_cuda,
    import_torch,
)

# Contracted multiply-adds and no errno or traps, which elementwise code never reads; what would
# change results beyond that (-ffast-math) stays off, since training must see its own NaNs.
CXX_FLAGS = [
    "-std=c++20",
    "-O3",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-Wall",
    "-Wno-unknown-pragmas",
]
# at::parallel_for compiles to OpenMP calls. The flag is not given to the linker: the calls must
# bind to the OpenMP library that torch brings along, not to a second one with threads of its own.
CPU_FLAGS = ["-fopenmp"] if sys.platform == "linux" else []
NVCC_FLAGS = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", "-lineinfo"]

# The sets that torch's own at::vec is written for; on other processors than x86-64 its vectors
# come with the baseline (NEON on Arm).
ISA_FLAGS = {"default": ["-DCPU_CAPABILITY=DEFAULT", "-DCPU_CAPABILITY_DEFAULT"]}
if platform.machine().lower() in ("x86_64", "amd64"):
    avx2 = ["-mavx2", "-mfma", "-mf16c"]
    avx512 = [*avx2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"]
    # gcc's own AVX-512 headers trip these two.
    avx512 += ["-Wno-uninitialized", "-Wno-maybe-uninitialized"]
    ISA_FLAGS["avx2"] = ["-DCPU_CAPABILITY=AVX2", "-DCPU_CAPABILITY_AVX2", *avx2]
    ISA_FLAGS["avx512"] = ["-DCPU_CAPABILITY=AVX512", "-DCPU_CAPABILITY_AVX512", *avx512]

# Fewer of them build sooner; the loader takes the best of what is there.
if chosen := os.environ.get("PYNEURAL_BUILD_ISAS"):
    ISA_FLAGS = {isa: ISA_FLAGS[isa] for isa in chosen.split()}

# Ampere and Hopper, and PTX of the older one: newer GPUs cannot run PTX of an "a" target.
CUDA_ARCHITECTURES = "8.0+PTX;9.0a"

PYTHON = sys.implementation.cache_tag

# Commands that compile; the others (sdist, metadata) run without torch and compiler.
BUILDING = {"build", "build_ext", "bdist_wheel", "editable_wheel", "install", "develop"}


def sources(pattern: str) -> list[str]:
    """The files under csrc/ that match, relative to the root as setuptools wants them."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc").glob(pattern))


def options() -> dict:
    """`ext_modules` and `cmdclass` for a command that compiles."""
    if sys.platform == "win32":
        raise BuildError("Windows is not supported; build under Linux, macOS or WSL")
    torch = import_torch()
    check_python_headers()
    compiler = find_compiler()
    cuda = find_cuda(torch.version.cuda)

    # An environment that is not activated may still have ninja.
    os.environ["PATH"] += os.pathsep + sysconfig.get_path("scripts")
    os.environ.setdefault("CXX", compiler.command)
    jobs = int(os.environ.setdefault("MAX_JOBS", "2"))
    # Python's own flags ask for debug information, which takes two fifths of the time.
    os.environ.setdefault("CFLAGS", "-g0")
    if cuda:
        # Read by torch.utils.cpp_extension, partly when it is imported.
        os.environ["CUDA_HOME"] = str(cuda.home)
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", CUDA_ARCHITECTURES)
    from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension

    include = [str(ROOT / "csrc"), str(ROOT / "csrc" / "common")]
    headers = sources("**/*.h") + sources("**/*.cuh")

    def extension(kind, name: str, files: list[str], cxx: Sequence[str] = ()):
        return kind(
            f"pyneural.{name}",
            files,
            include_dirs=include,
            depends=headers,
            extra_compile_args={"cxx": [*CXX_FLAGS, *cxx], "nvcc": NVCC_FLAGS},
        )

    modules = [
        extension(CppExtension, f"_cpu_{isa}", sources("*/*_cpu.cpp"), cxx=[*CPU_FLAGS, *flags])
        for isa, flags in ISA_FLAGS.items()
    ]
    if cuda:
        files = sources("*/*_cuda.cpp") + sources("*/*.cu")
        modules.append(extension(CUDAExtension, "_cuda", files))
    library_files = sources("*/*_autograd.cpp") + sources("*/*_composite.cpp")
    library = extension(CppExtension, "_C", ["csrc/library.cpp", *library_files])
    library.define_macros = [
        ("PYNEURAL_ISAS", f'"{" ".join(ISA_FLAGS)}"'),
        ("PYNEURAL_CUDA", f'"{torch.version.cuda if cuda else ""}"'),
    ]
    modules.append(library)

    class BuildKernels(BuildExtension):
        """A folder for each module: sources are shared, and objects must not collide."""

        def finalize_options(self) -> None:
            super().finalize_options()
            # Kept between builds, also where pip names a temporary folder: ninja then compiles
            # only what changed.
            base = ROOT / self.get_finalized_command("build").build_base
            self.build_temp = str(base / f"torch-{torch.__version__}-{PYTHON}")
            if self.use_ninja:
                # The jobs go to modules first, then to the sources of each. pip comes here twice.
                self.parallel = jobs
                os.environ["MAX_JOBS"] = str(max(1, jobs // len(self.extensions)))

        def build_extensions(self) -> None:
            library.define_macros.append(
                ("PYNEURAL_VERSION", f'"{self.distribution.get_version()}"')
            )
            # jet_cuda.cpp and jet_cuda.cu stand side by side, so an object keeps the whole name.
            self.compiler.object_filenames = lambda sources, strip_dir=0, output_dir="": [
                os.path.join(output_dir, f"{source}.o") for source in sources
            ]
            super().build_extensions()

        def build_extension(self, ext) -> None:
            module = copy(self)
            module.build_temp = os.path.join(self.build_temp, ext.name)
            os.makedirs(module.build_temp, exist_ok=True)
            super(BuildKernels, module).build_extension(ext)

        def run(self) -> None:
            super().run()
            # Read by pyneural/_loader.py before it loads anything that is linked to torch.
            folder = ROOT / "pyneural" if self.inplace else Path(self.build_lib, "pyneural")
            record = {"torch": torch.__version__, "cuda": torch.version.cuda if cuda else None}
            (folder / "_build.json").write_text(json.dumps(record) + "\n")

    return {"ext_modules": modules, "cmdclass": {"build_ext": BuildKernels}}


try:
    check_setuptools(setuptools.__version__)
    extra = options() if BUILDING & set(sys.argv) else {}
except BuildError as error:
    sys.exit(f"pyneural: {error}")
setuptools.setup(**extra)
