#!/usr/bin/env bash
# Chromium for the browser tests of the report, which skip without it: installed as root, where it is missing.
set -euo pipefail
command -v chromedriver >/dev/null && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        chromium chromium-driver >/dev/null
else
    echo "no chromedriver, so the browser tests skip; for them install chromium and chromium-driver" >&2
fi
