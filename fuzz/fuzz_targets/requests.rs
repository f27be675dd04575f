//! Fuzzes the requests of one connection, in any pieces. The properties stand in
//! `dunlin_tracker::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_tracker::fuzzing::requests(data));
