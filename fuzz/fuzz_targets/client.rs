//! Fuzzes a client and its world together. The properties stand in `dunlin_hostile::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_hostile::fuzzing::client(data));
