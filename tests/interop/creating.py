"""Cases in which `dunlin create` and libtorrent make the same torrent, and `dunlin verify` is right about
what became of it."""

import json
import os
import sys

from parties import HERE
from place import Failed

FORMATS = ["v1", "v2", "hybrid"]
PIECES = [16 << 10, 256 << 10]


def same_hashes(place, payload):
    """The info-hashes of a payload in all formats and two sizes of pieces."""
    data = place.data[payload]
    for version in FORMATS:
        for piece in PIECES:
            argv = [sys.executable, os.path.join(HERE, "create_hash.py"), data.path, piece, version]
            theirs = place.call(argv).decode().split()
            argv = [place.dunlin, "create", data.path, "-o", "-", "--quiet", "--format", version]
            made = os.path.join(place.folder, f"{version}-{piece}.torrent")
            with open(made, "wb") as file:
                file.write(place.call([*argv, "--piece-size", piece]))
            shown = json.loads(place.call([place.dunlin, "show", "--json", made]))["torrent"]
            ours = [shown[key] or "-" for key in ("info_hash", "info_hash_v2")]
            if ours != theirs:
                raise Failed(f"{payload}, {version}, {piece} bytes a piece: {ours}, libtorrent {theirs}")
    place.note(f"{len(data.files)} files, {len(FORMATS) * len(PIECES)} torrents")


def verify(place, version):
    """A flipped byte, a short, a missing and an extra file are named, and nothing else."""
    data = place.data["tree"]
    source = place.sub("source")
    torrent = os.path.join(place.folder, "tree.torrent")
    place.call([place.dunlin, "create", data.path, "-o", torrent, "--format", version, "--quiet"])
    place.call(["cp", "-r", data.path, source])
    argv = [place.dunlin, "verify", torrent, "--data", source, "--json"]
    if not json.loads(place.call(argv))["ok"]:
        raise Failed("the unchanged copy is not right")
    # Each alone in its pieces in no format: v1 pieces span files.
    names = sorted(name for name, (length, _) in data.files.items() if length > 1000)
    flipped, short, missing = names[1], names[len(names) // 2], names[-2]
    top = os.path.join(source, data.name)
    with open(os.path.join(top, flipped), "r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))
    os.truncate(os.path.join(top, short), 999)
    os.remove(os.path.join(top, missing))
    extra = "in plain/extra"
    with open(os.path.join(top, extra), "wb") as file:
        file.write(b"x")
    said = place.call(argv, expected=6).decode()
    for name in (flipped, short, missing, extra):
        if json.dumps(os.path.basename(name), ensure_ascii=False)[1:-1] not in said:
            raise Failed(f"{name} is not named by {said}")


def cases():
    for payload in ("file", "tree", "many"):
        yield f"create-{payload}", lambda place, payload=payload: same_hashes(place, payload)
    for version in FORMATS:
        yield f"verify-{version}", lambda place, version=version: verify(place, version)
