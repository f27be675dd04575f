//! Fuzzes .torrent files, paths, geometry, sets and token files. The properties stand in
//! `dunlin_metainfo::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_metainfo::fuzzing::metainfo(data));
