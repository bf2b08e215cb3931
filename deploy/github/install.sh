#!/usr/bin/env bash
# Installs Weighbridge, as it stands beside this script, into an environment of its own.
# The folder that the job works in may belong to somebody else: -I keeps Python from importing anything of it.
set -euo pipefail
python=${GATE_PYTHON:-python3}
venv=$RUNNER_TEMP/weighbridge-venv
extras=${GATE_EXTRAS:-}
extras=${extras//[[:space:]]/}
[[ $extras =~ ^[a-z0-9,]*$ ]] || { echo "weighbridge: extras: names and commas alone" >&2; exit 2; }
"$python" -I -m venv "$venv"
cd "$RUNNER_TEMP"
"$venv/bin/python" -I -m pip --disable-pip-version-check install --quiet "$GATE_ACTION${extras:+[$extras]}"
"$venv/bin/weighbridge" --version
