#!/usr/bin/env bash
# Installs the reference, Python transformers on torch, that makes the committed cases and golden files.
#
#   tests/oracle/setup.sh DIR       makes DIR/bin/python; about 3 minutes, 0.6 GB to download, 2 GB on disk
#
# Needs Python 3.11 or later on Linux x86-64, gcc and readelf. Only the CPU is used: torch's wheel asks for 3 GB of
# CUDA packages, so it goes in without its dependencies and gets stubs for the libraries it wants to see at import.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
venv=${1:?usage: setup.sh DIR}
torch=2.15.0

python3 -m venv "$venv"
pip() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }

pip --no-deps torch==$torch nvidia-cuda-runtime==13.2.86
pip filelock==4.2.12 typing_extensions==4.16.0 sympy==1.14.0 networkx==3.6.1 Jinja2==3.1.6 fsspec==2026.9.0 setuptools

site=$("$venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')
"$venv/bin/python" "$here/make_cuda_stubs.py" "$site"
# Without its CUDA requirements in the metadata, later installations leave torch as it is.
sed -i -E '/^Requires-Dist: (nvidia|cuda|triton)/d' "$site/torch-$torch.dist-info/METADATA"

pip --requirement "$here/requirements.txt"
"$venv/bin/python" -c 'import torch, transformers; print("torch", torch.__version__, "transformers", transformers.__version__)'
