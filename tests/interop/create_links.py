#!/usr/bin/python3
"""Writes the torrent that libtorrent makes of FOLDER, with its symbolic links as links, to OUT.

Usage: create_links.py FOLDER PIECE_LENGTH v1|v2|hybrid OUT

Needs the Python binding of libtorrent 2 (Debian: python3-libtorrent).
"""

import os
import sys

import libtorrent as lt

# The binding has no names for these, or makes them methods: their values are those of `create_torrent.hpp`.
FLAGS = {"v1": 64, "v2": 32, "hybrid": 0}
SYMLINKS = 8


def main():
    path, piece_length, form, out = os.path.abspath(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
    files = lt.file_storage()
    lt.add_files(files, path, lambda _: True, SYMLINKS)
    torrent = lt.create_torrent(files, piece_length, FLAGS[form] | SYMLINKS)
    lt.set_piece_hashes(torrent, os.path.dirname(path))
    with open(out, "wb") as file:
        file.write(lt.bencode(torrent.generate()))


if __name__ == "__main__":
    main()
