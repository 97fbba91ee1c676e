#!/usr/bin/env bash
# Builds llama.cpp's tools natively, for the CPU only, from the source inside the llama-cpp-python package.
#
#   build_llamacpp.sh DIR      tools in DIR/llama.cpp/bin; about 13 minutes of CPU time
#
# Needs cmake, ninja and a C++ compiler from the system, and pip (PYTHON names its interpreter).
set -euo pipefail

version=0.3.36
peers=$(mkdir -p "${1:?the folder of the peers}" && cd "$1" && pwd)
sources=$peers/src
package=$sources/llama_cpp_python-$version
build=$peers/llama.cpp

mkdir -p "$sources"
if [ ! -d "$package" ]; then
  "${PYTHON:-python3}" -m pip download --no-deps --no-binary llama-cpp-python --dest "$sources" "llama-cpp-python==$version"
  tar -xzf "$package.tar.gz" -C "$sources"
fi

cmake -G Ninja -S "$package/vendor/llama.cpp" -B "$build" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
  -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF
# The benches first: the others are for comparing answers, not speed
cmake --build "$build" --target llama-bench llama-batched-bench
echo "as in llama-cpp-python $version" > "$build/VERSION"
cmake --build "$build" --target llama-quantize llama-perplexity llama-completion
