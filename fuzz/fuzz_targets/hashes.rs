//! Fuzzes the files of hash lists. The properties stand in `dunlin_disk::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_disk::fuzzing::hashes(data));
