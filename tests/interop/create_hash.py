#!/usr/bin/python3
"""Prints the info-hashes that libtorrent computes for PATH: version 1, then version 2, `-` for none.

Usage: create_hash.py PATH PIECE_LENGTH v1|v2|hybrid [name|listed]

Version 2 and hybrid torrents have one order of files, whoever makes them. A torrent of version 1
lists files in whatever order it is given: `name` (the default) gives them by the bytes of each
component, as dunlin does; `listed` as `add_files` finds them, which is the order of the directory.

Needs the Python binding of libtorrent 2 (Debian: python3-libtorrent).
"""

import os
import sys

import libtorrent as lt

# The binding has no names for some of the flags, or makes them methods: their values are those of
# `create_torrent.hpp`.
FLAGS = {"v1": 64, "v2": 32, "hybrid": 0}


def storage(path, order):
    """The files at PATH."""
    listed = lt.file_storage()
    lt.add_files(listed, path)
    if order == "listed" or os.path.isfile(path):
        return listed
    names = [listed.file_path(index) for index in range(listed.num_files())]
    by_name = lt.file_storage()
    for index in sorted(range(len(names)), key=lambda index: os.fsencode(names[index]).split(b"/")):
        flags = listed.file_flags(index)
        by_name.add_file(names[index], listed.file_size(index), int(flags))
    return by_name


def main():
    path, piece_length, form = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    order = sys.argv[4] if len(sys.argv) > 4 else "name"
    path = os.path.abspath(path)
    files = storage(path, order if form == "v1" else "listed")
    torrent = lt.create_torrent(files, piece_length, FLAGS[form])
    lt.set_piece_hashes(torrent, os.path.dirname(path))
    hashes = lt.torrent_info(lt.bencode(torrent.generate())).info_hashes()
    v1 = str(hashes.v1) if hashes.has_v1() else "-"
    v2 = str(hashes.v2) if hashes.has_v2() else "-"
    print(v1, v2)


if __name__ == "__main__":
    main()
