//! Fuzzes traces that are shown as charts. The properties stand in `dunlin_cluster::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_cluster::fuzzing::trace(data));
