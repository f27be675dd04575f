//! Fuzzes what is kept of a torrent between runs. The properties stand in `dunlin_disk::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_disk::fuzzing::state(data));
