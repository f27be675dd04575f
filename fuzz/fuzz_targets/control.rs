//! Fuzzes the control messages of a cluster. The properties stand in
//! `dunlin_engine::tracker::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_engine::cluster::fuzzing::control(data));
