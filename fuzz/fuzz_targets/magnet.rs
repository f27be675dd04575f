//! Fuzzes magnet links. The properties stand in `dunlin_metainfo::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_metainfo::fuzzing::magnet(data));
