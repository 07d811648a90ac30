#!/usr/bin/env bash
# Adds what requirements-NAME.txt lists to an environment that scripts/setup.sh has made; leaves torch as it is.
#   vla    LeRobot, a sentence model and Ray, for policy=lerobot, new instructions of mini_vla, engine=ray, tests: 0.9 GB
#   docs   what builds the documentation site and runs the notebook: 60 MB
# usage: scripts/extra.sh VENV NAME
set -euo pipefail
venv=$1
name=$2
listed=requirements-$name.txt
done_mark=$venv/.$name

[ "$done_mark" -nt "$listed" ] && exit 0
"$venv/bin/python" -m pip --disable-pip-version-check install -q --no-deps -r "$listed"
touch "$done_mark"
