"""One file to all hosts of a bed by libtorrent, set up for a local network: no encryption, no uTP, no
discovery, 20 upload slots, every host told of all others. Nothing of dunlin is run.

    libtorrent_swarm.py PIECE_BYTES NAME SOURCE[,SOURCE...] HOST...

NAME is a file in the scratch folder of the sources. Prints the seconds from when all sessions stand and
are told to begin until the last host has every piece verified, then those of each host. The files are
compared with the source's.
"""

import filecmp
import os
import selectors
import subprocess
import sys
import time

import libtorrent as lt

PORT = 6881
LIMIT = 120  # seconds, until a swarm that does not get on is given up
SETTINGS = {
    "listen_interfaces": f"0.0.0.0:{PORT}",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "in_enc_policy": lt.enc_policy.disabled,
    "out_enc_policy": lt.enc_policy.disabled,
    "unchoke_slots_limit": 20,
    "connection_speed": 200,
    "alert_mask": lt.alert.category_t.status_notification
    | lt.alert.category_t.storage_notification
    | lt.alert.category_t.error_notification,
}


def say(word):
    """In one write, so that the reader gets it in one read."""
    os.write(1, f"{word}\n".encode())


def session(torrent, folder, is_seed, others):
    """One host's: says `ready`, waits for a line, moves, says `done` when it has everything verified
    and `written` when that is in the file, and serves until its input ends."""
    ours = lt.session(SETTINGS)
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(torrent)
    parameters.save_path = folder
    parameters.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if is_seed:
        parameters.flags |= lt.torrent_flags.seed_mode
    say("ready")
    sys.stdin.readline()
    handle = ours.add_torrent(parameters)
    for other in others:
        handle.connect_peer((other, PORT))
    written = is_seed
    while not written:
        ours.wait_for_alert(1000)
        for alert in ours.pop_alerts():
            if isinstance(alert, lt.torrent_finished_alert):
                say("done")
                handle.flush_cache()
            elif isinstance(alert, lt.cache_flushed_alert):
                written = True
            elif isinstance(alert, (lt.torrent_error_alert, lt.listen_failed_alert)):
                sys.exit(alert.message())
    if not is_seed:
        say("written")
    sys.stdin.read()
    os._exit(0)


def torrent_of(path, piece, out):
    files = lt.list_files(path)
    made = lt.create_torrent(files, piece, lt.create_torrent.v1_only)
    lt.set_piece_hashes(made, os.path.dirname(path))
    with open(out, "wb") as file:
        file.write(lt.bencode(made.generate()))


def addresses(bed):
    with open(f"{bed}/names") as lines:
        return {name: address for address, name in map(str.split, lines)}


def start(bed, host, torrent, is_seed, others):
    with open(f"{bed}/pids/{host}") as file:
        holder = file.read().strip()
    words = [torrent, f"{bed}/scratch", str(int(is_seed)), *others]
    return subprocess.Popen(
        ["nsenter", "-t", holder, "-n", "-u", "-i", "-m", "--", sys.executable, os.path.abspath(__file__)]
        + ["--session", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def expect(host, process, line):
    said = process.stdout.readline().strip()
    if said != line:
        sys.exit(f"{host} said {said!r}, not {line!r}")


def swarm(piece, name, sources, hosts):
    bed = os.environ["DUNLIN_BED"]
    source = f"{bed}/hosts/{sources[0]}/{name}"
    torrent = f"{bed}/{name}.torrent"
    torrent_of(source, piece, torrent)
    known = addresses(bed)
    running = {}
    for host in hosts:
        others = [known[other] for other in hosts if other != host]
        running[host] = start(bed, host, torrent, host in sources, others)
    for host, process in running.items():
        expect(host, process, "ready")
    begin = time.monotonic()
    for process in running.values():
        process.stdin.write("go\n")
        process.stdin.flush()
    leechers = {process.stdout: host for host, process in running.items() if host not in sources}
    seconds = wait_for_done(leechers, begin)
    for output, host in leechers.items():
        expect(host, running[host], "written")
        if not filecmp.cmp(source, f"{bed}/hosts/{host}/{name}", shallow=False):
            sys.exit(f"{host} has other bytes than {sources[0]}")
    for process in running.values():
        process.stdin.close()
        process.wait()
    each = " ".join(f"{host}={took:.3f}" for host, took in seconds.items())
    print(f"{max(seconds.values()):.3f} {each}")


def wait_for_done(leechers, begin):
    """Seconds of each host, from `begin`. Outputs are lines of a few bytes, read one at a time."""
    seconds = {}
    with selectors.DefaultSelector() as waiting:
        for output in leechers:
            waiting.register(output, selectors.EVENT_READ)
        while len(seconds) < len(leechers):
            ready = waiting.select(LIMIT - (time.monotonic() - begin))
            if not ready:
                sys.exit(f"after {LIMIT} s {len(leechers) - len(seconds)} hosts are not done")
            for key, _ in ready:
                # Unbuffered, so that nothing is held back from the next select.
                said = os.read(key.fd, 5)
                if said != b"done\n":
                    sys.exit(f"{leechers[key.fileobj]} said {said!r}, not done")
                seconds[leechers[key.fileobj]] = time.monotonic() - begin
                waiting.unregister(key.fileobj)
    return seconds


match sys.argv[1:]:
    case ["--session", torrent, folder, is_seed, *others]:
        session(torrent, folder, is_seed == "1", others)
    case [piece, name, sources, *hosts] if len(hosts) > 1:
        swarm(int(piece), name, sources.split(","), hosts)
    case _:
        sys.exit(__doc__)
