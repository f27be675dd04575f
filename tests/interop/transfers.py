"""Cases in which one torrent goes from one program to others, and is compared."""

import json
import os

from parties import PARTIES, Dunlin, DunlinTracker, Libtorrent, Opentracker, Transmission
from place import Failed

# Every line: who seeds, who leeches, what, in which format, and how they meet.
#   dial      the leecher dials the seed        dialled   the seed dials the leecher
#   magnet    as dial, but the leecher has only a magnet link
#   dial6     as dial, over IPv6                encrypts  as dial; whoever dials tries encryption first
#   http, udp through `dunlin tracker`          open-http, open-udp  through opentracker
#   http6, udp6  the same over IPv6
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
"""


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
    what = torrent.magnet if via == "magnet" else torrent.path
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
                tracker.wait_for(info_hash, 1, 0)
        leech.leech(what, target, [] if tracker else [seed.endpoint])
    leech.wait_complete()
    if isinstance(leech, Transmission):
        leech.stop()
    data.compare(target, leech.name, empty_files=leech.makes_empty_files)
    leech.stop()
    seed.stop()
    if tracker:
        # Transmission says nothing more to trackers once it has had the metadata of a magnet link.
        if not (leech_kind == "transmission" and via == "magnet"):
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
    tracker.wait_for(torrent.hashes[0], 1, 0)
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
    tracker.wait_for(torrent.hashes[0], 8, 0)
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


def cases():
    for line in TRANSFERS.split("\n"):
        words = line.split()
        if words:
            yield "-".join(words), lambda place, words=words: transfer(place, *words)
    yield "swarm-1-seed-7-leechers", swarm
