"""Builds the extension modules of pyneural against the torch of the environment.

`pyneural._C`        schemas, bindings and `build_info()`
`pyneural._cpu_*`    the CPU kernels, the same sources once for each instruction set
`pyneural._cuda`     the CUDA kernels, where torch has CUDA and nvcc is found

Environment: `CXX`, `CUDA_HOME`, `PYNEURAL_CUDA` (0 or 1), `TORCH_CUDA_ARCH_LIST`, `MAX_JOBS`,
`CFLAGS` (-g for debug information), `PYNEURAL_BUILD_ISAS` (some of native, all, default,
avx2 and avx512), `PYNEURAL_UNITY` (0 compiles each source by itself).
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shlex
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import setuptools

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "build_tools"))

from architectures import choose_architectures, nvcc_flags  # noqa: E402
from compilation import Module, compile_modules  # noqa: E402
from environment import (  # noqa: E402
    BuildError,
    check_python_headers,
    check_setuptools,
    choose_isas,
    choose_jobs,
    find_compiler,
    find_cuda,
    import_torch,
    usable_processors,
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
# Without -lineinfo, by which kernels would hold the folders of this machine; where a profiler is to
# show lines, NVCC_APPEND_FLAGS=-lineinfo adds them.
NVCC_FLAGS = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", "-Icsrc"]
NVCC_FLAGS += ["-Icsrc/common", "-Xcompiler=-fPIC,-fvisibility=hidden"]

# The sets that torch's own at::vec is written for; on other processors than x86-64 its vectors
# come with the baseline (NEON on Arm).
ISA_FLAGS = {"default": ["-DCPU_CAPABILITY=DEFAULT", "-DCPU_CAPABILITY_DEFAULT"]}
if platform.machine().lower() in ("x86_64", "amd64"):
    # Vectors longer than those of the baseline are passed in memory, which gcc notes.
    ISA_FLAGS["default"] += ["-Wno-psabi"]
    avx2 = ["-mavx2", "-mfma", "-mf16c"]
    avx512 = [*avx2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"]
    # gcc's own AVX-512 headers trip these two.
    avx512 += ["-Wno-uninitialized", "-Wno-maybe-uninitialized"]
    ISA_FLAGS["avx2"] = ["-DCPU_CAPABILITY=AVX2", "-DCPU_CAPABILITY_AVX2", *avx2]
    ISA_FLAGS["avx512"] = ["-DCPU_CAPABILITY=AVX512", "-DCPU_CAPABILITY_AVX512", *avx512]
elif platform.machine() == "aarch64":
    # As torch itself is built on Linux: otherwise at::vec takes sines, error functions and
    # logarithms lane by lane from the C library.
    ISA_FLAGS["default"] += ["-DAT_BUILD_ARM_VEC256_WITH_SLEEF"]
# gcc for Arm orders instructions before it allocates registers. By its default rule it would move
# so many loads ahead that sums of a product's tile leave the registers.
GCC_ARM_FLAGS = ["-Wno-psabi", "--param=sched-pressure-algorithm=1"]

PYTHON = sys.implementation.cache_tag

INCLUDE = ["csrc", "csrc/common"]
BUILD_SOURCE = "csrc/build.cpp"

# Commands that compile; the others (sdist, metadata) run without torch and compiler.
BUILDING = {"build", "build_ext", "bdist_wheel", "editable_wheel", "install", "develop"}


def sources(pattern: str) -> list[str]:
    """The files under csrc/ that match, relative to the root as setuptools wants them."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc").glob(pattern))


def load_memory() -> ModuleType:
    """pyneural/memory.py by itself: the package needs the kernels."""
    spec = importlib.util.spec_from_file_location("memory", ROOT / "pyneural" / "memory.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def options() -> dict:
    """`ext_modules` and `cmdclass` for a command that compiles."""
    if sys.platform == "win32":
        raise BuildError("Windows is not supported; build under Linux, macOS or WSL")
    torch = import_torch()
    check_python_headers()
    compiler = find_compiler()
    cuda = find_cuda(torch.version.cuda)

    # The environment's own ninja, activated or not, also where pip isolates the build: another
    # release would not read what this one noted down, and would compile everything again.
    os.environ["PATH"] = sysconfig.get_path("scripts") + os.pathsep + os.environ["PATH"]
    os.environ.setdefault("CXX", compiler.command)
    memory = load_memory().available_memory(torch.device("cpu"))
    jobs = choose_jobs(os.environ.get("MAX_JOBS"), usable_processors(), memory)
    # Python's own flags ask for debug information, which takes two fifths of the time.
    os.environ.setdefault("CFLAGS", "-g0")
    if cuda:
        # Read by torch.utils.cpp_extension when it is imported.
        os.environ["CUDA_HOME"] = str(cuda.home)
    from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension

    capability = torch.backends.cpu.get_cpu_capability()
    isas = choose_isas(os.environ.get("PYNEURAL_BUILD_ISAS"), list(ISA_FLAGS), capability)
    files = {f"_cpu_{isa}": sources("*/*_cpu.cpp") for isa in isas}
    files["_C"] = ["csrc/library.cpp", *sources("*/*_autograd.cpp"), BUILD_SOURCE]
    extensions = [CppExtension(f"pyneural.{name}", files[name]) for name in files]
    nvcc = []
    if cuda:
        # First: nvcc takes the longest.
        files = {"_cuda": sources("*/*.cu") + sources("*/*_cuda.cpp"), **files}
        extensions.append(CUDAExtension("pyneural._cuda", files["_cuda"]))
        devices = torch.cuda
        architectures = choose_architectures(
            os.environ.get("TORCH_CUDA_ARCH_LIST"),
            cuda.version,
            lambda: [devices.get_device_capability(i) for i in range(devices.device_count())],
        )
        nvcc = [str(cuda.home / "bin" / "nvcc"), *NVCC_FLAGS]
        # Of a source; what is left of the processors where they are more than the sources.
        nvcc.append(f"--threads={max(1, jobs.processors // 4)}")
    # Torch's headers apart from ours: their warnings are not for us, and the links that lead to
    # them in one environment or another make no difference to the objects.
    include = [arg for folder in INCLUDE for arg in ("-I", folder)]
    folders = [folder for extension in extensions for folder in extension.include_dirs]
    folders = [os.path.realpath(folder) for folder in [*folders, sysconfig.get_paths()["include"]]]
    for folder in dict.fromkeys(folders):
        # What torch's headers assert names their file; not where this machine has it.
        include += ["-isystem", folder, f"-fmacro-prefix-map={folder}/="]

    class BuildKernels(BuildExtension):
        """Compiles the modules at once."""

        def finalize_options(self) -> None:
            super().finalize_options()
            # Kept between builds, also where pip names a temporary folder: ninja then compiles
            # only what changed.
            base = self.get_finalized_command("build").build_base
            self.build_temp = os.path.join(base, f"torch-{torch.__version__}-{PYTHON}")

        def modules(self) -> dict[str, Module]:
            """What to compile, by the names of the modules."""

            def module(name: str, *flags: str, **more) -> Module:
                folder = os.path.join(self.build_temp, name)
                flags = (
                    *flags,
                    "-DTORCH_API_INCLUDE_EXTENSION_H",
                    f"-DTORCH_EXTENSION_NAME={name}",
                )
                return Module(folder, files[name], flags, **more)

            cpu_flags = [*CPU_FLAGS]
            if compiler.kind == "gcc" and platform.machine() == "aarch64":
                cpu_flags += GCC_ARM_FLAGS
            found = {
                f"_cpu_{isa}": module(f"_cpu_{isa}", *cpu_flags, *ISA_FLAGS[isa]) for isa in isas
            }
            if cuda:
                gpus = {
                    source: nvcc_flags(architectures, source.removeprefix("csrc/"))
                    for source in sources("*/*.cu")
                }
                found = {"_cuda": module("_cuda", source_flags=gpus), **found}
            information = {
                "PYNEURAL_ISAS": " ".join(isas),
                "PYNEURAL_CUDA": torch.version.cuda if cuda else "",
                "PYNEURAL_VERSION": self.distribution.get_version(),
            }
            # These only call the kernels: -O3 makes them larger and no faster.
            found["_C"] = module(
                "_C",
                "-O2",
                source_flags={
                    BUILD_SOURCE: [f'-D{key}="{text}"' for key, text in information.items()]
                },
            )
            return found

        def build_extensions(self) -> None:
            flags = [*self.compiler.compiler_so[1:], *include, *CXX_FLAGS]
            command = shlex.split(os.environ["CXX"])
            modules = self.modules()
            objects = compile_modules(
                list(modules.values()), ROOT, self.build_temp, command, flags, jobs, nvcc
            )
            self.objects = dict(zip(modules, objects, strict=True))
            super().build_extensions()

        def build_extension(self, ext) -> None:
            self.compiler.link_shared_object(
                self.objects[ext.name.rpartition(".")[2]],
                self.get_ext_fullpath(ext.name),
                libraries=self.get_libraries(ext),
                library_dirs=ext.library_dirs,
                target_lang="c++",
            )

        def run(self) -> None:
            super().run()
            folder = ROOT / "pyneural" if self.inplace else Path(self.build_lib, "pyneural")
            # What an earlier build left for other instruction sets is out of date from now on.
            built = {Path(self.get_ext_filename(ext.name)).name for ext in extensions}
            for library in folder.glob("_cpu_*.so"):
                if library.name not in built:
                    library.unlink()
            # Read by pyneural/_loader.py before it loads anything that is linked to torch.
            record = {"torch": torch.__version__, "cuda": torch.version.cuda if cuda else None}
            (folder / "_build.json").write_text(json.dumps(record) + "\n")

    return {"ext_modules": extensions, "cmdclass": {"build_ext": BuildKernels}}


try:
    check_setuptools(setuptools.__version__)
    setuptools.setup(**(options() if BUILDING & set(sys.argv) else {}))
except BuildError as error:
    sys.exit(f"pyneural: {error}")
