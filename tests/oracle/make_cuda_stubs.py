#!/usr/bin/env python3
"""Let `import torch` work for a CUDA wheel without the 3 GB of CUDA packages it asks for.

    make_cuda_stubs.py SITE_PACKAGES          (needs gcc and readelf)

Every shared library that torch's own libraries need and that is not there becomes a stub of a few kilobytes, with
the symbols (and symbol versions) that torch wants from it. Each function in it returns 1, an error code. The real
`nvidia-cuda-runtime` (2 MB) is used where it is installed.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict

# A symbol without a version says nothing about its library: the first prefix that fits decides.
LIBRARY_BY_PREFIX = [
    ("nccl", "libnccl"),
    ("cudnn", "libcudnn"),
    ("cupti", "libcupti"),
    ("cuFile", "libcufile"),
    ("nvshmem", "libnvshmem"),
    ("cufft", "libcufft"),
    ("cusparseLt", "libcusparseLt"),
    ("cusparse", "libcusparse"),
    ("cusolver", "libcusolver"),
    ("cublasLt", "libcublasLt"),
    ("cublas", "libcublas"),
    ("nvrtc", "libnvrtc"),
    ("cuda", "libcudart"),
    ("__cuda", "libcudart"),
]

# A library in the nvidia folder below this size is a stub from an earlier run, not the real one.
SMALLEST_REAL_LIBRARY = 600_000


def run(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout


def needed_libraries(library):
    return re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-dW", library))


def symbols(library):
    """(is it defined here, name, version or "") of every dynamic symbol."""
    for line in run("readelf", "--dyn-syms", "-W", library).splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[0].rstrip(":").isdigit():
            name, _, version = fields[7].replace("@@", "@").partition("@")
            yield fields[6] != "UND", name, version


def version_owners(library):
    """{symbol version: soname that must provide it}, from the version-needs section."""
    owners, soname = {}, None
    for line in run("readelf", "-VW", library).splitlines():
        if match := re.search(r"File: (\S+)", line):
            soname = match.group(1)
        elif (match := re.search(r"Name: (\S+)\s+Flags", line)) and soname:
            owners[match.group(1)] = soname
    return owners


def missing_libraries(torch_libraries, real_libraries):
    there = {os.path.basename(f) for f in torch_libraries + real_libraries}
    there |= {line.split()[0] for line in run("ldconfig", "-p").splitlines()[1:]}
    return sorted({n for f in torch_libraries for n in needed_libraries(f)} - there)


def wanted_symbols(missing, torch_libraries, real_libraries):
    """{soname: {version or "": names}} of what the missing libraries have to provide."""
    defined = {name for f in torch_libraries + real_libraries for here, name, _ in symbols(f) if here}
    owners = {version: soname for f in torch_libraries for version, soname in version_owners(f).items()}
    wanted = {soname: defaultdict(set) for soname in missing}
    for library in torch_libraries:
        for here, name, version in symbols(library):
            if here or not name:
                continue
            if version:
                soname = owners.get(version)
                if soname in wanted:
                    wanted[soname][version].add(name)
            elif name not in defined:
                owner = next((lib for prefix, lib in LIBRARY_BY_PREFIX if name.startswith(prefix)), None)
                for soname in missing:
                    if owner and soname.startswith((owner + ".", owner + "_")):
                        wanted[soname][""].add(name)
    return wanted


def compile_stub(soname, symbols_by_version, folder):
    names = sorted(set().union(*symbols_by_version.values()))
    versions = {version: names for version, names in symbols_by_version.items() if version}
    script = [f"{version} {{ global: {'; '.join(sorted(names))}; }};" for version, names in versions.items()]
    with tempfile.TemporaryDirectory() as scratch:
        source, version_script = os.path.join(scratch, "stub.c"), os.path.join(scratch, "stub.map")
        with open(source, "w") as file:
            file.writelines(f"long {name}(void) {{ return 1; }}\n" for name in names)
        with open(version_script, "w") as file:
            file.write("\n".join(script or ["{ global: *; };"]))
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-O1", "-w", "-fno-builtin", "-o", os.path.join(folder, soname), source]
            + [f"-Wl,-soname,{soname}", f"-Wl,--version-script={version_script}"],
            check=True,
        )
    print(f"{soname:24} {len(names):5} symbols, versions {sorted(versions)}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    site_packages = sys.argv[1]
    folder = os.path.join(site_packages, "nvidia/cu13/lib")
    os.makedirs(folder, exist_ok=True)

    torch_libraries = glob.glob(os.path.join(site_packages, "torch/lib/*.so*"))
    nvidia = glob.glob(os.path.join(site_packages, "nvidia/**/*.so*"), recursive=True)
    real_libraries = [f for f in nvidia if os.path.getsize(f) > SMALLEST_REAL_LIBRARY]

    missing = missing_libraries(torch_libraries, real_libraries)
    for soname, wanted in wanted_symbols(missing, torch_libraries, real_libraries).items():
        compile_stub(soname, wanted, folder)


if __name__ == "__main__":
    main()
