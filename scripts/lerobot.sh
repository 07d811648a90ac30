#!/usr/bin/env bash
# Adds LeRobot, for policy=lerobot and its tests, to an environment that scripts/setup.sh has made: 0.5 GB.
# usage: scripts/lerobot.sh VENV
set -euo pipefail
venv=$1
listed=requirements-lerobot.txt
done_mark=$venv/.lerobot

[ "$done_mark" -nt "$listed" ] && exit 0
"$venv/bin/python" -m pip --disable-pip-version-check install -q --no-deps -r "$listed"
touch "$done_mark"
