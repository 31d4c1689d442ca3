"""Say what this installation can read and run, and what to install for the rest.

    medres doctor

Versions, the GPU that torch sees, optional extras, and every DICOM transfer syntax with the package
that adds it. Exit status 1 where something that medres cannot do without is broken.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import medres
from pipelines.shell import exit_status

PROGRAM = "medres doctor"
BROKEN = 1
IMPORT_SECONDS = 300

# Each in a process of its own: a broken one may end it, and torch is not to be loaded twice.
PROBES = {
    "torch": (
        "import torch\n"
        "n = torch.cuda.device_count() if torch.cuda.is_available() else 0\n"
        "names = [f'cuda:{i} {torch.cuda.get_device_name(i)}' for i in range(n)]\n"
        "names += ['mps'] if torch.backends.mps.is_available() else []\n"
        "print(', '.join(names) or 'none seen by torch; the CPU is used')\n"
    ),
    # An operator of torchvision's own library: absent where that was built for another torch.
    "torchvision": (
        "import torch, torchvision\n"
        "torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)\n"
        "print('fits torch')\n"
    ),
    "monai": "import monai.transforms, monai.networks\nprint('can be imported')\n",
    "pytorch-ignite": "import ignite.engine\nprint('can be imported')\n",
}
EXTRAS = {
    "codecs": ("imagecodecs",),
    "bundle": ("fire", "jsonschema"),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "openvino": ("openvino",),
}
OPTIONAL = {package for packages in EXTRAS.values() for package in packages}


@dataclass(frozen=True)
class Probe:
    """What became of importing a package.

    Attributes:
        package: as installed.
        works: it could be imported and used.
        said: by the probe, or the last line of the error.
    """

    package: str
    works: bool
    said: str


def run() -> int:
    """Print the diagnosis; returns the exit status."""
    with ThreadPoolExecutor() as pool:
        probes = [*pool.map(probe_package, PROBES)]
    print(f"medres {medres.__version__}, Python {platform.python_version()}, {platform.system()}")
    print("\n".join(format_probes(probes)))
    broken = [f"{probe.package} does not work" for probe in probes if not probe.works]
    print("\n".join(format_extras()))
    lines, unread = format_syntaxes()
    print("\n".join(lines))
    broken += unread
    print(f"broken: {'; '.join(broken)}" if broken else "nothing essential is broken")
    return BROKEN if broken else 0


def probe_package(package: str) -> Probe:
    """Import a package in a process of its own and try it."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBES[package]],
            capture_output=True,
            text=True,
            check=False,
            timeout=IMPORT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Probe(package, False, f"no answer within {IMPORT_SECONDS} seconds")
    told = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    said = told[-1] if told else f"the process ended with status {done.returncode}"
    return Probe(package, done.returncode == 0, said)


def format_probes(probes: Sequence[Probe]) -> list[str]:
    """A line a package, and one on the GPU, which torch knows of."""
    lines = []
    for probe in probes:
        name = f"  {probe.package} {find_version(probe.package) or '(not installed)'}"
        if not probe.works:
            lines.append(f"{name}: does not work: {probe.said}")
        elif probe.package == "torch":
            lines += [name, f"  GPU: {probe.said}"]
        else:
            lines.append(f"{name}: {probe.said}")
    return lines


def format_extras() -> list[str]:
    """A line an extra: installed, or what to install."""
    lines = ["extras:"]
    for extra, packages in EXTRAS.items():
        absent = [package for package in packages if not find_version(package)]
        state = f"absent; pip install {' '.join(absent)}" if absent else "installed"
        lines.append(f"  {extra}: {state}")
    return lines


def format_syntaxes() -> tuple[list[str], list[str]]:
    """Lines on every transfer syntax, and those that a whole installation would read."""
    from medres.imaging.codecs import list_syntaxes

    syntaxes = list_syntaxes()
    lacking = [syntax for syntax in syntaxes if not syntax.readable]
    lines = ["DICOM transfer syntaxes read:"]
    lines += [f"  {syntax.name}" for syntax in syntaxes if syntax.readable]
    if lacking:
        lines.append("not read:")
        lines += [f"  {syntax.name}: pip install {syntax.package}" for syntax in lacking]
    essential = [s.name for s in lacking if s.package not in OPTIONAL]
    return lines, [f"{name} cannot be read" for name in essential]


def find_version(package: str) -> str:
    """The installed version; empty where the package is absent."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(argv)
    return exit_status(PROGRAM, run)


if __name__ == "__main__":
    sys.exit(main())
