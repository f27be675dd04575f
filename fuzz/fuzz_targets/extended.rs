//! Fuzzes the payloads of extensions. The properties stand in `dunlin_wire::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_wire::fuzzing::extended(data));
