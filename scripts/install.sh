#!/bin/sh
# Makes the virtual environment $1 and installs $2 (a path with extras) into it, with the versions of constraints.txt.
# Uses uv where it is on PATH, else python3 -m venv and pip. PYTHON names another interpreter.
set -eu
venv=$1
what=$2

say() { printf '%s\n' "$*" >&2; }
good() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=
for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null 2>&1 && good "$candidate"; then
        python=$candidate
        break
    fi
done

if command -v uv >/dev/null 2>&1; then
    say "Installing with uv into $venv ..."
    # Where there is no Python that fits, uv fetches one: a version that every pinned package has wheels for.
    good "$venv/bin/python" || { rm -rf "$venv" && uv venv --quiet --seed --python "${python:-3.13}" "$venv"; }
    export UV_CONSTRAINT=constraints.txt UV_BUILD_CONSTRAINT=constraints.txt
    VIRTUAL_ENV=$PWD/$venv uv pip install --quiet -e "$what"
    exit 0
fi

if [ -z "$python" ]; then
    found=$(python3 --version 2>/dev/null || echo "no python3")
    say "Bruce needs Python 3.11 or newer; found: $found. Install one (or uv), or name it: make run PYTHON=/path/to/python3.12"
    exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    say "$python has no venv module. On Debian or Ubuntu: apt-get install python3-venv; or install uv."
    exit 1
fi
say "Installing with pip into $venv ..."
good "$venv/bin/python" || "$python" -m venv --clear "$venv"
# As an environment variable the pins hold for the build's own requirements too. It takes a list with spaces between,
# so no path of this machine may stand in it.
PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/python" -m pip install --quiet -e "$what"
