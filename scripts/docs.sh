#!/usr/bin/env bash
# Adds what builds the documentation site and runs the notebook to an environment that scripts/setup.sh has made: 60 MB.
# usage: scripts/docs.sh VENV
set -euo pipefail
venv=$1
listed=requirements-docs.txt
done_mark=$venv/.docs

[ "$done_mark" -nt "$listed" ] && exit 0
"$venv/bin/python" -m pip --disable-pip-version-check install -q --no-deps -r "$listed"
touch "$done_mark"
