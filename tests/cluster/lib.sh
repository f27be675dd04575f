# What runs on a bed (tests/cluster/bed) sources this: `. tests/cluster/lib.sh`. It never starts a bed.
# shellcheck shell=bash

# on HOST COMMAND…: runs it on a host, with these words, this environment and this folder; only
# temporary files and caches go where that host has them.
on() {
    local name=$1
    shift
    # shellcheck disable=SC2016 # the variables are of the shell inside
    nsenter -t "$(<"$DUNLIN_BED/pids/$name")" -n -u -i -m -- \
        env TMPDIR="$DUNLIN_BED/scratch/tmp" XDG_CACHE_HOME="$DUNLIN_BED/scratch/cache" sh -c 'cd "$1" && shift && exec "$@"' sh "$PWD" "$@"
}

# unplug HOST: pulls its cable. Its processes go on, and nobody hears of them again.
unplug() {
    ip link delete "bed-$1"
    mkdir -p "$DUNLIN_BED/gone"
    : >"$DUNLIN_BED/gone/$1"
}

# plug HOST: gives it a cable, the first one or again after it was unplugged.
plug() {
    local name=$1 pid speed number=${1#n}
    pid=$(<"$DUNLIN_BED/pids/$name")
    speed=$(<"$DUNLIN_BED/rates/$name")
    # The card keeps its address, so that neighbours find it again at once.
    ip link add "bed-$name" type veth \
        peer name eth0 address "02:00:00:00:00:$(printf %02x "$number")" netns "$pid"
    shape "$speed" tc qdisc add dev "bed-$name" root
    ip link set "bed-$name" master bridge up
    in_network "$pid" ip address add "10.77.0.$number/24" dev eth0
    in_network "$pid" ip link set eth0 up
    shape "$speed" in_network "$pid" tc qdisc add dev eth0 root
    rm -f "$DUNLIN_BED/gone/$name"
}

in_network() {
    local pid=$1
    shift
    nsenter -t "$pid" -n -- "$@"
}

# shape RATE COMMAND…: the queue of one direction. The burst is more than the largest packet that the
# stack hands over in one (64 KiB), so that nothing is cut, and enough that a busy machine that looks
# after the queue some milliseconds late loses no time on the wire; the queue behind it is what a small
# switch has.
shape() {
    local speed=$1
    shift
    "$@" handle 1: tbf rate "$speed" burst 160kb limit 1mb
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

# launch MPI COUNT HOSTS WORD…: a job of COUNT ranks, started on the first of HOSTS (n1:2,n2,n3: two
# ranks on n1), over the bed's network only. MPI is openmpi or mpich; the words are more options of the
# launcher, and the program. $launch_limit seconds (60) at most, exit code 124 then: the launcher of
# Open MPI hangs before it starts anything now and then. It has a session of its own, so that a signal
# of its own end reaches nobody else.
launch() {
    local mpi=$1 count=$2 hosts=$3 first words
    shift 3
    first=${hosts%%[:,]*}
    case $mpi in
        openmpi)
            words=(mpirun.openmpi --host "$hosts" -np "$count" --mca plm_rsh_agent "$DUNLIN_BED/rsh"
                --mca btl "self,vader,tcp" --mca btl_tcp_if_include eth0 --mca oob_tcp_if_include eth0)
            ;;
        mpich)
            words=(mpiexec.mpich -hosts "$hosts" -np "$count" -launcher ssh
                -launcher-exec "$DUNLIN_BED/rsh" -genv UCX_NET_DEVICES eth0)
            ;;
    esac
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 \
        on "$first" setsid --wait timeout -k 5 "${launch_limit-60}" "${words[@]}" "$@"
}
