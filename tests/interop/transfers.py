"""Cases in which one torrent goes from one program to others, and is compared."""

import json
import os

from parties import PARTIES, Aria2, Dunlin, DunlinTracker, Libtorrent, Opentracker, Rtorrent, Transmission
from place import Failed, until

# Every line: who seeds, who leeches, what, in which format, and how they meet.
#   dial      the leecher dials the seed        dialled   the seed dials the leecher
#   magnet    as dial, but the leecher has only a magnet link
#   dial6     as dial, over IPv6                encrypts  as dial; whoever dials tries encryption first
#   http, udp through `dunlin tracker`          open-http, open-udp  through opentracker
#   http6, udp6  the same over IPv6
#   magnet-http, magnet-udp  as http and udp, but the leecher has only a magnet link
TRANSFERS = """
    dunlin        libtorrent    file  v1      dial
    libtorrent    dunlin        file  v1      dial
    dunlin        libtorrent    tree  v1      dialled
    libtorrent    dunlin        tree  v1      dialled
    dunlin        libtorrent    file  v2      dial
    libtorrent    dunlin        file  v2      dial
    dunlin        libtorrent    tree  v2      dial
    libtorrent    dunlin        tree  v2      dial
    dunlin        libtorrent    tree  hybrid  dial
    libtorrent    dunlin        tree  hybrid  dial
    dunlin        libtorrent    file  v1      dial6
    libtorrent    dunlin        file  v1      dial6
    dunlin        libtorrent    tree  v1      magnet
    libtorrent    dunlin        tree  v1      magnet
    dunlin        libtorrent    tree  v2      magnet
    libtorrent    dunlin        tree  v2      magnet
    libtorrent    dunlin        tree  hybrid  magnet
    dunlin        libtorrent    tree  hybrid  magnet
    libtorrent    dunlin        file  v1      encrypts
    dunlin        libtorrent    file  v1      encrypts
    dunlin        transmission  file  v1      http
    transmission  dunlin        file  v1      http
    dunlin        transmission  tree  v1      udp
    transmission  dunlin        tree  v1      udp
    dunlin        transmission  file  v1      dialled
    transmission  dunlin        tree  v1      dial
    dunlin        transmission  file  v1      encrypts
    dunlin        transmission  tree  v1      magnet
    dunlin        dunlin        file  v1      open-http
    dunlin        dunlin        file  v1      open-udp
    dunlin        transmission  file  v1      open-udp
    libtorrent    dunlin        file  v1      open-http
    dunlin        dunlin        tree  v2      http
    dunlin        dunlin        tree  hybrid  udp
    libtorrent    transmission  file  v1      http
    transmission  libtorrent    tree  v1      udp
    libtorrent    dunlin        file  v1      http
    dunlin        libtorrent    tree  v1      udp
    dunlin        dunlin        tree  hybrid  magnet
    dunlin        libtorrent    file  v1      udp6
    libtorrent    dunlin        file  v1      http6
    dunlin        aria2         file  v1      http
    aria2         dunlin        file  v1      http
    dunlin        aria2         file  v1      udp
    aria2         dunlin        tree  v1      udp
    dunlin        aria2         tree  v1      dialled
    dunlin        aria2         metadata3 v1  magnet-http
    aria2         dunlin        metadata3 v1  magnet-http
    dunlin        aria2         metadata3 v1  magnet-udp
    aria2         dunlin        metadata3 v1  magnet-udp
    dunlin        rtorrent      file  v1      http
    rtorrent      dunlin        file  v1      http
    dunlin        rtorrent      tree  v1      udp
    rtorrent      dunlin        tree  v1      udp
    dunlin        rtorrent      metadata3 v1  magnet-http
    rtorrent      dunlin        metadata3 v1  magnet-http
    dunlin        rtorrent      metadata3 v1  magnet-udp
    rtorrent      dunlin        metadata3 v1  magnet-udp
    rtorrent      dunlin        metadata1 v1  magnet-http
    rtorrent      dunlin        metadata2 v1  magnet-udp
    rtorrent      dunlin        metadata40 v1 magnet-http
    dunlin        libtorrent    metadata3 v1  magnet-http
    libtorrent    dunlin        metadata3 v1  magnet-http
    dunlin        libtorrent    metadata3 v1  magnet-udp
    libtorrent    dunlin        metadata3 v1  magnet-udp
    dunlin        transmission  metadata3 v1  magnet-http
    transmission  dunlin        metadata3 v1  magnet-http
    dunlin        transmission  metadata3 v1  magnet-udp
    transmission  dunlin        metadata3 v1  magnet-udp
    libtorrent    dunlin        metadata3 hybrid magnet-udp
    dunlin        libtorrent    metadata3 hybrid magnet-http
"""

# aria2 as the only leecher of a dunlin seed, by the pieces that there are.
ARIA2_LEECHES = [("30 pieces", "http"), ("120 pieces", "http"), ("1920 pieces", "http")]
ARIA2_LEECHES += [(payload, f"magnet-{via}") for payload, via in ARIA2_LEECHES]

# Seconds that the seed of the mixed swarm takes to give one copy. Each program asks for the next few
# seconds at once, so that two may ask the seed for the same: the longer it takes, the less that is. At
# 130 s it is a seventh of a copy, at 60 s about a third.
MIXED_SECONDS = 130


class Torrent:
    """A torrent of a payload, made by `dunlin create`."""

    def __init__(self, place, data, version="v1", trackers=(), options=()):
        self.data = data
        self.path = os.path.join(place.folder, f"{data.name} {version}.torrent")
        argv = [place.dunlin, "create", data.path, "-o", self.path, "--format", version, "--quiet"]
        for tracker in trackers:
            argv += ["--tracker", tracker]
        place.call([*argv, *options])
        shown = json.loads(place.call([place.dunlin, "show", "--json", self.path]))["torrent"]
        # What trackers and handshakes go by.
        self.hashes = [
            bytes.fromhex(shown[key])[:20] for key in ("info_hash", "info_hash_v2") if shown[key]
        ]
        self.magnet = place.call([place.dunlin, "magnet", self.path]).decode().strip()


def tracker_of(place, via):
    """The tracker that a case asks for, and its URL."""
    via = via.removeprefix("magnet-")
    which, _, scheme = via.rpartition("-")
    version = 6 if scheme.endswith("6") else 4
    tracker = Opentracker(place) if which == "open" else DunlinTracker(place, version=version)
    return tracker, tracker.urls(scheme.removesuffix("6"))


def transfer(place, seed_kind, leech_kind, payload, version, via):
    data = place.data[payload]
    tracker, trackers = None, []
    needs_tracker = leech_kind == "transmission" and via in ("encrypts", "magnet")
    if via.endswith(("http", "udp", "http6", "udp6")) or needs_tracker:
        tracker, url = tracker_of(place, "http" if needs_tracker else via)
        trackers = [url]
    torrent = Torrent(place, data, version, trackers)
    if tracker:
        tracker.allow(torrent.hashes)
    ip = 6 if via.endswith("6") else 4
    seed, leech = make(place, seed_kind, "seed", ip), make(place, leech_kind, "leech", ip, via == "encrypts")
    source, target = data.link(place.sub("source")), place.sub("target")
    what = torrent.magnet if via.startswith("magnet") else torrent.path
    if via == "dialled":
        leech.leech(what, target, [])
        seed.seed(torrent.path, source, [leech.endpoint] if seed_kind == "dunlin" else [])
        seed.wait_seeding()
        if seed_kind != "dunlin":
            seed.meet(leech.endpoint)
    else:
        seed.seed(torrent.path, source, [])
        seed.wait_seeding()
        if tracker:
            for info_hash in torrent.hashes:
                tracker.wait_for_peers(info_hash, 1)
        leech.leech(what, target, [] if tracker else [seed.endpoint])
    leech.wait_complete()
    if isinstance(leech, Transmission):
        leech.stop()
    data.compare(target, leech.name, empty_files=leech.makes_empty_files)
    leech.stop()
    seed.stop()
    if tracker:
        # Transmission says nothing more to trackers once it has had the metadata of a magnet link.
        if not (leech_kind == "transmission" and via.startswith("magnet")):
            for info_hash in torrent.hashes:
                tracker.wait_for(info_hash, 0, 0)
        tracker.stop()


def make(place, kind, role, ip, encrypts=False):
    name = f"{kind} ({role})"
    if kind == "libtorrent":
        # 1: encryption is tried first, 2: never.
        settings = {"out_enc_policy": 1, "in_enc_policy": 1} if encrypts else None
        return Libtorrent(place, name, ip, settings)
    if kind == "transmission":
        return Transmission(place, name, "preferred" if encrypts else "tolerated")
    return PARTIES[kind](place, name, ip)


def swarm(place):
    """One dunlin seeds; three dunlin, two libtorrent and two Transmission leech at once."""
    data = place.data["file"]
    tracker = DunlinTracker(place)
    torrent = Torrent(place, data, "v1", [tracker.urls("http")])
    seed = Dunlin(place, "dunlin (seed)")
    seed.seed(torrent.path, data.link(place.sub("source")))
    seed.wait_seeding()
    tracker.wait_for_peers(torrent.hashes[0], 1)
    kinds = [Dunlin, Transmission, Libtorrent, Dunlin, Libtorrent, Transmission, Dunlin]
    leechers = [kind(place, f"{kind.kind} {number}") for number, kind in enumerate(kinds)]
    for leech in leechers:
        folder = place.sub(leech.name)
        if isinstance(leech, Dunlin):
            leech.leech(torrent.path, folder, [], ["--seed"])
        else:
            leech.leech(torrent.path, folder, [])
    for leech in leechers:
        leech.wait_complete()
    # The seed has come once; who completes is a seed at once.
    tracker.wait_for(torrent.hashes[0], 7, 1)
    for leech in leechers:
        leech.stop()
    for leech in leechers:
        data.compare(os.path.join(place.folder, leech.name), leech.name)
    seed.stop()
    sent = seed.report()["torrents"][0]["bytes_sent"]
    if sent == 0:
        raise Failed("the seed sent nothing")
    place.note(f"the seed sent {sent / data.length:.1f} copies of 7")
    tracker.wait_for(torrent.hashes[0], 0, 0)


def mixed(place):
    """One of each program leeches from a slow dunlin seed that goes when there is one more copy: it gives
    less than a quarter of what they take, and they give the rest to each other. dunlin gives to each of
    the others, and gets from each."""
    data = place.data["large"]
    tracker = DunlinTracker(place)
    torrent = Torrent(place, data, "v1", [tracker.urls("http")])
    seed = Dunlin(place, "dunlin (seed)")
    kinds = [Dunlin, Aria2, Rtorrent, Libtorrent, Transmission]
    leechers = [kind(place) for kind in kinds]
    quarter = len(kinds) * data.length // 4
    seed.seed(torrent.path, data.link(place.sub("source")), options=["--limit-up", f"{data.length // MIXED_SECONDS}"])
    seed.wait_seeding()
    tracker.wait_for_peers(torrent.hashes[0], 1)
    for number, leech in enumerate(leechers):
        folder = place.sub(leech.name)
        if isinstance(leech, Dunlin):
            leech.leech(torrent.path, folder, [], ["--seed"])
        else:
            leech.leech(torrent.path, folder, [])
        tracker.wait_for_peers(torrent.hashes[0], number + 2)
    watcher = leechers[3]

    def second_copy():
        watcher.check()
        now = watcher.status()
        return now["copies"] >= 2 or now["seeding"]

    until(second_copy, "a copy beside that of the seed", 3 * MIXED_SECONDS)
    seed.stop()
    for leech in leechers:
        leech.wait_complete()
    for leech in leechers:
        leech.stop()
    for leech in leechers:
        data.compare(os.path.join(place.folder, leech.name), leech.name)
    moved = {one["address"]: one for one in leechers[0].report()["torrents"][0]["peers"]}
    for other in leechers[1:]:
        one = moved.get(other.address)
        if not one or not one["bytes_received"] or not one["bytes_sent"]:
            raise Failed(f"dunlin and {other.name} did not give and take: {one}, of {list(moved.values())}")
    sent = seed.report()["torrents"][0]["bytes_sent"]
    place.note(f"the seed sent {sent / data.length:.2f} copies of {len(kinds)}")
    if sent > quarter:
        raise Failed(f"the seed sent {sent} bytes, more than a quarter of what was taken")
    tracker.stop()


def cases():
    # It takes longest and does least, so it goes beside others.
    yield "swarm-of-five-programs", mixed
    for line in TRANSFERS.split("\n"):
        words = line.split()
        if words:
            yield "-".join(words), lambda place, words=words: transfer(place, *words)
    for payload, via in ARIA2_LEECHES:
        words = ["dunlin", "aria2", payload, "v1", via]
        yield "-".join(words).replace(" ", "-"), lambda place, words=words: transfer(place, *words)
    yield "swarm-1-seed-7-leechers", swarm
