"""Cases about options of `get` and `seed` and how a run ends: where sockets are, limits, order, selection,
goals, interrupts."""

import http.server
import os
import re
import signal
import socket
import subprocess
import threading
import time

from parties import Dunlin, Libtorrent
from place import LIMIT, LOOK, Failed, until
from transfers import Torrent

# How long a rate is measured, after how long, and how far it may be off.
MEASURED = 20
WARM_UP = 2
TOLERANCE = 0.05


def sockets(process):
    """(protocol, state, local address, remote address, numbers) of the sockets of a process."""
    found = []
    for kind in ("-t", "-u"):
        argv = ["ss", "-H", "-a", "-n", "-p", "-i", "-O", kind]
        said = subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout
        for line in said.decode().splitlines():
            if f"pid={process.pid}," not in line:
                continue
            state, _, _, local, remote, *rest = line.split(maxsplit=5)
            found.append((kind[1], state, local, remote, rest[0] if rest else ""))
    return found


class Holding(http.server.BaseHTTPRequestHandler):
    """A tracker that answers `started` and nothing after it."""

    def do_GET(self):
        if "event=started" in self.path:
            body = b"d8:intervali1800e5:peers0:e"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.server.started.set()
        else:
            self.server.over.wait()

    def log_message(self, *_):
        pass


def holding_tracker(place):
    address = (place.address(), place.port())
    server = http.server.ThreadingHTTPServer(address, Holding)
    server.daemon_threads = True
    server.started, server.over = threading.Event(), threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://{address[0]}:{address[1]}/announce"


def seeded(place, payload, version="v1", settings=None):
    """Data, its torrent, and a libtorrent that seeds it."""
    data = place.data[payload]
    torrent = Torrent(place, data, version)
    seed = Libtorrent(place, "libtorrent (seed)", settings=settings)
    seed.seed(torrent.path, data.link(place.sub("source")), [])
    seed.wait_seeding()
    return data, torrent, seed


def bind(place, to_interface):
    """No socket stands anywhere but at the address, or the interface, that --bind names."""
    data, torrent, seed = seeded(place, "slow")
    # Trackers that take what is said and never answer, so that the sockets to them stay.
    web, datagrams = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for one in (web, datagrams):
        one.bind((place.address(), place.port()))
    web.listen()
    at = {"http": web.getsockname(), "udp": datagrams.getsockname()}
    other = place.address(6)
    for scheme, (host, port) in at.items():
        leech = Dunlin(place, f"dunlin ({scheme})")
        options = ["--tracker", f"{scheme}://{host}:{port}/announce", "--limit-down", "200kB"]
        # Addresses that --bind cannot reach are not tried, not even once.
        options += ["--peer", f"[{other}]:9", "--tracker", f"http://[{other}]:9/announce"]
        folder = place.sub(f"target-{scheme}")
        if to_interface:
            argv = [place.dunlin, "get", torrent.path, "-o", folder, "--bind", "lo", "--port", leech.port]
            ip, port_ = seed.endpoint
            process = place.start(leech.name, [*argv, "--peer", f"{ip}:{port_}", *options])
        else:
            leech.leech(torrent.path, folder, [seed.endpoint], options)
            process = leech.process
        seen = set()

        def look():
            for kind, state, local, remote, _ in sockets(process):
                here = local.rpartition(":")[0]
                # ss says to which interface a socket is bound that has no address.
                right = here.endswith("%lo") if to_interface else here == leech.address
                if not right:
                    raise Failed(f"{kind} {state} socket at {local} (to {remote})")
                if state == "LISTEN":
                    seen.add("listens")
                elif remote == f"{host}:{port}" or (kind == "u" and not remote.startswith("[")):
                    seen.add("announces")
                elif remote.startswith(seed.address):
                    seen.add("downloads")
            return seen >= {"listens", "announces", "downloads"}

        until(look, f"sockets that listen, announce and download, not only {seen}")
        process.interrupt()
        if process.wait() != 9:
            raise Failed(f"{leech.name}: exit {process.process.returncode} after Ctrl-C, expected 9")
    seed.stop()


def rate(place, direction):
    """The payload of 20 s is what the limit says, within 5 %."""
    limit = 1_000_000
    data = place.data["slow"]
    torrent = Torrent(place, data)
    dunlin, other = Dunlin(place), Libtorrent(place)
    source, target = data.link(place.sub("source")), place.sub("target")
    options = [f"--limit-{direction}", "1MB"]
    if direction == "down":
        other.seed(torrent.path, source, [])
        other.wait_seeding()
        dunlin.leech(torrent.path, target, [other.endpoint], options)
    else:
        dunlin.seed(torrent.path, source, options=options)
        dunlin.wait_seeding()
        other.leech(torrent.path, target, [dunlin.endpoint])
    # The kernel's count for our end of the connection.
    field = "bytes_received" if direction == "down" else "bytes_acked"

    def moved():
        dunlin.check()
        counts = [re.search(rf"\b{field}:(\d+)", more) for *_, more in sockets(dunlin.process)]
        return time.monotonic(), max((int(count[1]) for count in counts if count), default=0)

    until(lambda: moved()[1] > limit // 4, "the flow to begin")
    begin = time.monotonic()
    until(lambda: time.monotonic() > begin + WARM_UP, "the flow to settle")
    first, before = moved()
    until(lambda: time.monotonic() > first + MEASURED, "the time to be over")
    last, after = moved()
    found = (after - before) / (last - first)
    # Of every 16 KiB 13 bytes are no payload: far less than what may be off.
    if abs(found / limit - 1) > TOLERANCE:
        raise Failed(f"--limit-{direction} 1MB: {found / 1e6:.3f} MB/s over {last - first:.1f} s")
    place.note(f"{found / 1e6:.3f} MB/s")
    dunlin.stop(9 if direction == "down" else 0)
    other.stop()


def sequential(place):
    """Pieces are asked for in order; without the option they are not."""
    window = 64
    data = place.data["file"]
    torrent = Torrent(place, data)
    for options, in_order in ((["--sequential"], True), ([], False)):
        place_of_run = place.sub(f"run-{in_order}")
        seed = Libtorrent(place, f"libtorrent (seed, {in_order})", settings={"requests": True})
        seed.seed(torrent.path, data.link(place_of_run + "/source"), [])
        seed.wait_seeding()
        leech = Dunlin(place, f"dunlin ({in_order})")
        leech.leech(torrent.path, place_of_run + "/target", [seed.endpoint], options)
        leech.wait_complete()
        data.compare(place_of_run + "/target", leech.name)
        seed.stop()
        order = [event["piece"] for event in seed.events("request")]
        highest, behind = 0, 0
        for piece in order:
            highest = max(highest, piece)
            behind = max(behind, highest - piece)
        if len(set(order)) < 1000:
            raise Failed(f"only {len(set(order))} pieces were seen being asked for")
        if (behind <= window) != in_order:
            raise Failed(f"{options}: a piece was asked for {behind} pieces behind the furthest")


def select(place, version):
    """Only what is selected comes; the same command without a selection fetches the rest."""
    data, torrent, seed = seeded(place, "tree", version)
    target = place.sub("target")
    leech = Dunlin(place, "dunlin (selects)")
    leech.leech(torrent.path, target, [seed.endpoint], ["--select", "in Zürich/**", "--select", "*[0-4]"])
    leech.wait_complete()

    def wanted(name):
        first, _, rest = name.partition("/")
        return first == "in Zürich" or (not rest and name[-1] in "01234")

    data.compare(target, leech.name, only=wanted)
    part = leech.report()["torrents"][0]["bytes_received"]
    leech = Dunlin(place, "dunlin (all)")
    leech.leech(torrent.path, target, [seed.endpoint])
    leech.wait_complete()
    data.compare(target, leech.name)
    rest = leech.report()["torrents"][0]["bytes_received"]
    if not 0 < part < data.length or part + rest > data.length * 1.2:
        raise Failed(f"{part} bytes and then {rest} came, of {data.length}")
    seed.stop()


def ratio(place, command):
    """A seed ends by itself when it has given what --seed-ratio says."""
    data, torrent, first = seeded(place, "file")
    dunlin, leech = Dunlin(place), Libtorrent(place, "libtorrent (leech)")
    goal = ["--seed-ratio", "1"]
    if command == "get":
        dunlin.leech(torrent.path, place.sub("middle"), [first.endpoint], goal)
        dunlin.wait_seeding()
    else:
        dunlin.seed(torrent.path, data.link(place.sub("middle")), options=goal)
        dunlin.wait_seeding()
    leech.leech(torrent.path, place.sub("target"), [dunlin.endpoint])
    leech.wait_complete()
    code = dunlin.process.wait()
    sent = dunlin.report()["torrents"][0]["bytes_sent"]
    if code != 0 or sent < data.length:
        raise Failed(f"exit {code} after {sent} of {data.length} bytes were given")
    data.compare(os.path.join(place.folder, "target"), leech.name)
    leech.stop()
    first.stop()


def interrupt(place):
    """Ctrl-C: exit 9; the same command fetches the rest and no more."""
    data, torrent, seed = seeded(place, "file")
    target = place.sub("target")
    leech = Dunlin(place, "dunlin (interrupted)")
    leech.leech(torrent.path, target, [seed.endpoint], ["--limit-down", "4MB"])
    leech.process.expect(
        lambda stream, text: (found := re.search(r"(\d+)% of", text)) and int(found[1]) >= 30, "it has 30 %"
    )
    leech.stop(expected=9)
    report = leech.report()
    before = report["torrents"][0]["bytes_have"]
    if report["ok"] or not report["interrupted"] or os.path.exists(os.path.join(target, data.name)):
        raise Failed(f"a report or a file says that it is complete: {report}")
    leech = Dunlin(place, "dunlin (again)")
    leech.leech(torrent.path, target, [seed.endpoint])
    leech.wait_complete()
    data.compare(target, leech.name)
    came = leech.report()["torrents"][0]["bytes_received"]
    # A block may come twice at the end.
    if not data.length - before <= came <= data.length - before + (1 << 20):
        raise Failed(f"{before} bytes were there, and {came} of {data.length} came")
    place.note(f"{before * 100 // data.length} % were kept")
    seed.stop()


def interrupt_twice(place):
    """A tracker that does not answer holds the end up; the second Ctrl-C does not wait: exit 130. Nor does
    the first for long."""
    data, torrent, seed = seeded(place, "slow")
    server, url = holding_tracker(place)
    for twice in (True, False):
        leech = Dunlin(place, f"dunlin (twice: {twice})")
        server.started.clear()
        options = ["--tracker", url, "--limit-down", "100kB"]
        leech.leech(torrent.path, place.sub(f"target-{twice}"), [seed.endpoint], options)
        if not server.started.wait(LIMIT):
            raise Failed(f"{leech.name} never announces `started`")
        # The answer has been heard when the report would say so; the connections say it first.
        until(lambda: all(url.split("/")[2] != one[3] for one in sockets(leech.process)), "the answer")
        leech.process.interrupt()
        leech.process.expect(lambda _, text: text.startswith("interrupted:"), "it says so")
        began = time.monotonic()
        if twice:
            # Two at one moment are one request: a person presses until it ends.
            def ended():
                leech.process.interrupt()
                return leech.process.process.poll() is not None

            until(ended, "its end", 4)
        code = leech.process.wait()
        expected = 130 if twice else 9
        if code != expected:
            raise Failed(f"{leech.name}: exit {code}, expected {expected}")
        took = time.monotonic() - began
        if took > (2 if twice else 15):
            raise Failed(f"{leech.name}: the end took {took:.1f} s")
        place.note(f"{took:.2f} s")
    server.over.set()
    server.shutdown()
    seed.stop()


def cases():
    yield "bind-address", lambda place: bind(place, False)
    yield "bind-interface", lambda place: bind(place, True)
    for direction in ("down", "up"):
        yield f"limit-{direction}", lambda place, direction=direction: rate(place, direction)
    yield "sequential", sequential
    for version in ("v1", "v2", "hybrid"):
        yield f"select-{version}", lambda place, version=version: select(place, version)
    for command in ("get", "seed"):
        yield f"seed-ratio-{command}", lambda place, command=command: ratio(place, command)
    yield "interrupt", interrupt
    yield "interrupt-twice", interrupt_twice
