//! Fuzzes the swarm table of a public tracker. The properties stand in
//! `dunlin_engine::tracker::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_engine::tracker::fuzzing::swarms(data));
