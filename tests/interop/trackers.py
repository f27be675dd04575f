"""Cases about what trackers know: who is there, who has left, who is dead."""

import signal

from parties import Dunlin, DunlinTracker, Libtorrent, Opentracker
from place import Failed
from transfers import Torrent


def counts(place, tracker, scheme):
    """A seed and a leecher that stays one are counted, by us and by libtorrent; both leave."""
    data = place.data["file"]
    torrent = Torrent(place, data, "v1", [tracker.urls(scheme)])
    tracker.allow(torrent.hashes)
    info_hash = torrent.hashes[0]
    seed, leech = Libtorrent(place, "libtorrent (seed)"), Dunlin(place, "dunlin (leech)")
    seed.seed(torrent.path, data.link(place.sub("source")), [])
    seed.wait_seeding()
    if not tracker.believes_at_once:
        tracker.wait_for(info_hash, 0, 1)
        seed.announce()
    tracker.wait_for(info_hash, 1, 0)
    leech.leech(torrent.path, place.sub("target"), options=["--limit-down", "100kB"])
    tracker.wait_for(info_hash, 1, 1)
    # What libtorrent reads of it, over the scheme of the case.
    seed.do("scrape")
    scrape = seed.event("scrape")
    if (scrape["complete"], scrape["incomplete"]) != (1, 1):
        raise Failed(f"libtorrent reads {scrape} of {tracker.name}")
    leech.stop(expected=9)
    tracker.wait_for(info_hash, 1, 0)
    seed.stop()
    tracker.wait_for(info_hash, 0, 0)
    tracker.stop()


def expiry(place):
    """A peer that dies without a word is forgotten; one that announces in time is not."""
    data = place.data["file"]
    tracker = DunlinTracker(place, ["--interval", "2s"])
    torrent = Torrent(place, data, "v1", [tracker.urls("udp")])
    info_hash = torrent.hashes[0]

    def stays():
        tracker.announce(info_hash, 9)

    seed = Dunlin(place, "dunlin (seed)")
    seed.seed(torrent.path, data.link(place.sub("source")))
    # It comes once, and does not say a second time that nothing is missing.
    tracker.wait_for(info_hash, 0, 2, stays)
    seed.process.interrupt(signal.SIGKILL)
    seed.process.wait()
    tracker.wait_for(info_hash, 0, 1, stays)
    # Now the other one dies.
    tracker.wait_for(info_hash, 0, 0)
    tracker.stop()


def lists(place):
    """A torrent that is not on the list is refused, with a reason that its peer shows."""
    data = place.data["file"]
    allowed = place.sub("lists") + "/allowed"
    with open(allowed, "w") as file:
        file.write("# only this one\n" + "00" * 20 + "\n")
    tracker = DunlinTracker(place, ["--allow", allowed])
    torrent = Torrent(place, data, "v1", [tracker.urls("http"), tracker.urls("udp")])
    seed = Dunlin(place)
    seed.seed(torrent.path, data.link(place.sub("source")))
    for scheme in ("http", "udp"):
        seed.process.expect(
            lambda stream, text, url=tracker.urls(scheme): stream == "err" and text.startswith(f"tracker {url}:"),
            f"it says what {scheme} answered",
        )
    seed.stop()
    tracker.stop()


def cases():
    for scheme in ("http", "udp"):
        yield f"counts-dunlin-{scheme}", lambda place, scheme=scheme: counts(place, DunlinTracker(place), scheme)
        yield f"counts-open-{scheme}", lambda place, scheme=scheme: counts(place, Opentracker(place), scheme)
    yield "expiry", expiry
    yield "allow-list", lists
