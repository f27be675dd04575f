//! Fuzzes bencode: trees, spans, the canonical writer. The properties stand in
//! `dunlin_bencode::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_bencode::fuzzing::bencode(data));
