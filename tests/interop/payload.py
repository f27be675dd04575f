"""Data that is moved, made from a seed, and what it must be in the end."""

import hashlib
import os
import random
import threading

from place import Failed

MIB = 1 << 20
# Names of which each would be wrong if somebody took them for ASCII, for one composed form, or for a
# pattern.
NAMES = ["plain", "Zürich", "naïve café", "e\u0301 decomposed", "Ωμέγα", "日本語", "emoji 🐦", "dots..in", "a [b] {c}", "%41"]


class Data:
    """A file, or a folder of files, under `root`/`name`, and the hash of every file in it."""

    def __init__(self, root, name):
        self.root = root
        self.name = name
        self.files = manifest(os.path.join(root, name))
        self.length = sum(length for length, _ in self.files.values())

    @property
    def path(self):
        return os.path.join(self.root, self.name)

    def link(self, folder):
        """The same under another folder, for a program that may leave something beside it. What changes
        there is found by `compare`, of whoever got it."""
        for name in self.files:
            to = os.path.join(folder, self.name, name) if name else os.path.join(folder, self.name)
            os.makedirs(os.path.dirname(to), exist_ok=True)
            os.link(os.path.join(self.path, name) if name else self.path, to)
        return folder

    def compare(self, folder, who, only=None, empty_files=True):
        """Fails unless `folder` holds exactly these bytes under exactly these names. `only` is what was
        selected; some programs make no empty files."""
        found = manifest(os.path.join(folder, self.name))
        expected = {name: value for name, value in self.files.items() if only is None or only(name)}
        if not empty_files:
            expected = {name: value for name, value in expected.items() if value[0] or name in found}
        missing = sorted(set(expected) - set(found))
        extra = sorted(set(found) - set(expected))
        differ = sorted(name for name in set(found) & set(expected) if found[name] != expected[name])
        if missing or extra or differ:
            counts = f"{len(missing)} missing, {len(extra)} too many, {len(differ)} different"
            raise Failed(f"{who} has other files: {counts}: {[*missing, *extra, *differ][:5]}")


def manifest(path):
    """Length and hash of a file (under the name ``), or of every file of a folder."""
    if os.path.isfile(path):
        return {"": digest(path)}
    found = {}
    for folder, _, names in os.walk(path):
        for name in names:
            whole = os.path.join(folder, name)
            found[os.path.relpath(whole, path)] = digest(whole)
    return found


def digest(path):
    with open(path, "rb") as file:
        hashed = hashlib.file_digest(file, "sha256")
        return file.tell(), hashed.hexdigest()


def write(path, length, source):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        while length > 0:
            part = min(length, MIB)
            file.write(source.randbytes(part))
            length -= part


def one_file(root, length):
    """A file that ends in the middle of a block."""
    write(os.path.join(root, "one file.bin"), length + 12_345, random.Random(1))
    return Data(root, "one file.bin")


def tree(root, count, largest):
    """`count` files below a folder, some empty, many in one piece, one of many pieces, with names of
    many languages."""
    source = random.Random(2)
    top = os.path.join(root, "träger")
    for number in range(count):
        word = NAMES[number % len(NAMES)]
        below = f"in {NAMES[number // 40 % len(NAMES)]}"
        folder = os.path.join(top, *[below] * (number % 3))
        kind = source.randrange(20)
        length = 0 if kind == 0 else source.randrange(1, 400) if kind < 5 else source.randrange(1, largest)
        write(os.path.join(folder, f"{word} {number}"), length, source)
    write(os.path.join(top, "large"), 60 * largest + 1, source)
    write(os.path.join(top, "last and empty"), 0, source)
    return Data(root, "träger")


def many(root, count):
    """Very many small files."""
    source = random.Random(3)
    for number in range(count):
        write(os.path.join(root, "many", f"d{number // 500}", f"f{number}"), number % 600, source)
    return Data(root, "many")


def exact(root, pieces):
    """A file of so many pieces of 16 KiB, the last one short."""
    write(os.path.join(root, "exact.bin"), pieces * 16_384 - 1_000, random.Random(4))
    return Data(root, "exact.bin")


def long_names(root, count):
    """Small files with names so long that most of a torrent is names."""
    source = random.Random(5)
    for number in range(count):
        write(os.path.join(root, "names", f"{number:05}{'n' * 178}"), 100, source)
    return Data(root, "names")


class Store:
    """Makes each payload once, when it is first asked for."""

    # Of one length in both sizes: named after the pieces that they have, or that their info dictionary has.
    PIECES = {
        "30 pieces": lambda root: exact(root, 30),
        "120 pieces": lambda root: exact(root, 120),
        "1920 pieces": lambda root: exact(root, 1920),
        "metadata1": lambda root: one_file(root, 4 * MIB),
        "metadata2": lambda root: one_file(root, 20 * MIB),
        "metadata3": lambda root: one_file(root, 28 * MIB),
        "large": lambda root: one_file(root, 160 * MIB),
        "metadata40": lambda root: long_names(root, 3000),
    }

    KINDS = {
        ("file", "small"): lambda root: one_file(root, 20 * MIB),
        ("file", "full"): lambda root: one_file(root, 300 * MIB),
        ("tree", "small"): lambda root: tree(root, 300, 60_000),
        ("tree", "full"): lambda root: tree(root, 2_000, 150_000),
        ("many", "small"): lambda root: many(root, 2_000),
        ("many", "full"): lambda root: many(root, 20_000),
        ("slow", "small"): lambda root: one_file(root, 24 * MIB),
        ("slow", "full"): lambda root: one_file(root, 60 * MIB),
    }

    def __init__(self, root, size):
        self.root = root
        self.size = size
        self.lock = threading.Lock()
        self.made = {}

    def __getitem__(self, kind):
        with self.lock:
            if kind not in self.made:
                root = os.path.join(self.root, kind)
                os.makedirs(root)
                make = Store.PIECES.get(kind) or Store.KINDS[kind, self.size]
                self.made[kind] = make(root)
            return self.made[kind]
