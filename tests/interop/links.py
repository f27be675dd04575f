"""Cases in which symbolic links and executable bits (BEP 47) go from one program to the other: torrents
made by either, seeded by either. A framework of macOS, whose links lead through one another."""

import os
import random
import shutil
import stat
import sys

from parties import HERE, Dunlin, Libtorrent
from payload import digest, write
from place import Failed

FORMATS = ["v1", "v2", "hybrid"]
PIECE = 16 << 10
NAME = "F.framework"
FILES = [("Fw", 90_000, 0o755), ("Headers/h.h", 3_000, 0o644), ("run.sh", 70, 0o755), ("none", 0, 0o644)]
LINKS = {
    "Fw": "Versions/Current/Fw",
    "Headers": "Versions/Current/Headers",
    "Versions/Current": "A",
    "through": "Headers",
    "up/down/h": "../../Versions/A/Headers/h.h",
}


def framework(folder):
    """Makes the folder, and gives what stands in it."""
    source = random.Random(7)
    top = os.path.join(folder, NAME)
    for name, length, mode in FILES:
        path = os.path.join(top, "Versions/A", name)
        write(path, length, source)
        os.chmod(path, mode)
    for name, text in LINKS.items():
        path = os.path.join(top, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(text, path)
    return stands(folder)


def stands(folder):
    """By path: where a link ends, or length, hash and whether the owner may run it. Programs spell a link
    as they like; what counts is where it leads, step by step."""
    top = os.path.join(folder, NAME)
    found = {}
    for at, folders, names in os.walk(top):
        for name in [*names, *folders]:
            path = os.path.join(at, name)
            where = os.path.relpath(path, top)
            if os.path.islink(path):
                leads = os.path.normpath(os.path.join(at, os.readlink(path)))
                found[where] = ("link", os.path.relpath(leads, top), os.path.exists(path))
            elif os.path.isfile(path):
                found[where] = (*digest(path), bool(os.stat(path).st_mode & stat.S_IXUSR))
    return found


def made(place, by, version, source):
    """The torrent, made by one of the two."""
    out = os.path.join(place.folder, f"{by}.torrent")
    top = os.path.join(source, NAME)
    if by == "dunlin":
        words = ["--format", version, "--piece-size", PIECE, "--quiet"]
        place.call([place.dunlin, "create", top, "-o", out, *words])
    else:
        place.call([sys.executable, os.path.join(HERE, "create_links.py"), top, PIECE, version, out])
    return out


def goes(place, by, version):
    """There and back: dunlin to libtorrent, and from what that made to dunlin again."""
    source = place.sub("source")
    expected = framework(source)
    torrent = made(place, by, version, source)
    place.call([place.dunlin, "verify", torrent, "--data", source])
    hops = [(Dunlin, Libtorrent), (Libtorrent, Dunlin), (Dunlin, Dunlin)]
    for number, (from_, to) in enumerate(hops):
        target = place.sub(f"target {number}")
        seed, leech = from_(place, f"{from_.kind} (seed {number})"), to(place, f"{to.kind} (leech {number})")
        seed.seed(torrent, source, [])
        seed.wait_seeding()
        leech.leech(torrent, target, [seed.endpoint])
        leech.wait_complete()
        leech.stop()
        seed.stop()
        found = stands(target)
        if found != expected:
            differ = {name for name in {*found, *expected} if found.get(name) != expected.get(name)}
            pairs = [f"{name}: {found.get(name)}, expected {expected.get(name)}" for name in sorted(differ)]
            raise Failed(f"{leech.name}: {'; '.join(pairs)}")
        place.call([place.dunlin, "verify", torrent, "--data", target])
        if stands(source) != expected:
            raise Failed(f"{seed.name} changed what it seeds")
        # The next one has what this one has made.
        shutil.rmtree(source)
        source = target


def cases():
    for by in ("dunlin", "libtorrent"):
        for version in FORMATS:
            yield f"links-of-{by}-{version}", lambda place, by=by, version=version: goes(place, by, version)
