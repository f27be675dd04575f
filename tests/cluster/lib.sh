# What runs on a bed (tests/cluster/bed) sources this: `. tests/cluster/lib.sh`. It never starts a bed.
# shellcheck shell=bash

# on HOST COMMAND…: runs it on a host, with these words, this environment and this folder; only
# temporary files go where that host has them.
on() {
    local name=$1
    shift
    # shellcheck disable=SC2016 # the variables are of the shell inside
    nsenter -t "$(<"$DUNLIN_BED/pids/$name")" -n -u -i -m -- \
        env TMPDIR="$DUNLIN_BED/scratch/tmp" sh -c 'cd "$1" && shift && exec "$@"' sh "$PWD" "$@"
}

# unplug HOST: pulls its cable. Its processes go on, and nobody hears of them again.
unplug() {
    ip link delete "bed-$1"
    mkdir -p "$DUNLIN_BED/gone"
    : >"$DUNLIN_BED/gone/$1"
}

# processes HOST: the numbers of all that run there.
processes() {
    local first network pid
    first=$(<"$DUNLIN_BED/pids/$1")
    network=$(readlink "/proc/$first/ns/net")
    for pid in /proc/[0-9]*; do
        if [ "$(readlink "$pid/ns/net")" = "$network" ] && [ "${pid#/proc/}" != "$first" ]; then
            printf '%s\n' "${pid#/proc/}"
        fi
    done 2>/dev/null
}

# crash HOST: pulls its cable and ends all that runs there, as when the power fails.
crash() {
    local pid
    unplug "$1"
    for pid in $(processes "$1"); do
        kill -9 "$pid" 2>/dev/null || true
    done
}
