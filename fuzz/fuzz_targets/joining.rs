//! Fuzzes what is said where a job comes together. The properties stand in
//! `dunlin_cluster::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_cluster::fuzzing::joining(data));
