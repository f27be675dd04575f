//! Storage, checks and resume files, on disks in memory and real ones: one program, since all its
//! files need the same torrents.

mod common;

mod changed;
mod claims;
mod crash;
mod hostile_folder;
mod moved;
mod repair;
mod replacing;
mod sparse;
mod storage;
mod torrent_crash;
mod torrents;
