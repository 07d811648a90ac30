#!/usr/bin/env bash
# Adds LeRobot, a sentence model and Ray, for policy=lerobot, new instructions of mini_vla, engine=ray and their tests, to an
# environment that scripts/setup.sh has made: 0.9 GB.
# usage: scripts/vla.sh VENV
set -euo pipefail
venv=$1
listed=requirements-vla.txt
done_mark=$venv/.vla

[ "$done_mark" -nt "$listed" ] && exit 0
"$venv/bin/python" -m pip --disable-pip-version-check install -q --no-deps -r "$listed"
touch "$done_mark"
