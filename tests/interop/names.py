"""Cases in which files have names that one program or the other changes: each finds what the other made."""

import os
import random

from parties import Dunlin, Libtorrent
from payload import manifest, write
from place import Failed

FORMATS = ["v1", "v2", "hybrid"]
NAMES = [
    "plain.bin",
    "می\u200cخواهم.txt",
    "family \U0001f469\u200d\U0001f467",
    "left\u200emark",
    "right\u200fmark",
    "turned\u202etxt",
    "word\u2060joiner",
    "\ufeffbyte order",
    "back\\slash",
    "tab\there",
    "line\nbreak",
    "c1\x85\x9bcontrol",
    "\x7fdelete",
    "two\t\u2060ways",
    "n" * 237 + ".bin",
    "m" * 251 + ".txt",
    "ü" * 127,
]


def goes(place, version):
    """dunlin to libtorrent, from there to dunlin, and to libtorrent again."""
    top = os.path.join(place.sub("source"), "names\t\\")
    source = random.Random(8)
    for number, name in enumerate(NAMES):
        write(os.path.join(top, name), 20_000 + number, source)
        write(os.path.join(top, f"{number}~{name}"[:60], "in"), 100 + number, source)
    expected = sorted(manifest(top).values())
    torrent = os.path.join(place.folder, "names.torrent")
    words = ["--format", version, "--piece-size", 16 << 10, "--quiet"]
    place.call([place.dunlin, "create", top, "-o", torrent, *words])
    folder = os.path.dirname(top)
    for number, (from_, to) in enumerate([(Dunlin, Libtorrent), (Libtorrent, Dunlin), (Dunlin, Libtorrent)]):
        place.call([place.dunlin, "verify", torrent, "--data", folder])
        target = place.sub(f"target {number}")
        seed, leech = from_(place, f"{from_.kind} (seed {number})"), to(place, f"{to.kind} (leech {number})")
        seed.seed(torrent, folder, [])
        seed.wait_seeding()
        leech.leech(torrent, target, [seed.endpoint])
        leech.wait_complete()
        leech.stop()
        seed.stop()
        tops = [name for name in os.listdir(target) if name != ".dunlin"]
        if len(tops) != 1 or sorted(manifest(os.path.join(target, tops[0])).values()) != expected:
            raise Failed(f"{leech.name} has other files: {tops}")
        # libtorrent finds what libtorrent made.
        folder = target
    place.call([place.dunlin, "verify", torrent, "--data", folder])


def cases():
    for version in FORMATS:
        yield f"names-{version}", lambda place, version=version: goes(place, version)
