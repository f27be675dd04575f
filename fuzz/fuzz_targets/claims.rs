//! Fuzzes files of claims. The properties stand in `dunlin_disk::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_disk::fuzzing::claims(data));
