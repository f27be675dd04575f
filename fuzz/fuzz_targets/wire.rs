//! Fuzzes handshake, framer and messages. The properties stand in `dunlin_wire::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_wire::fuzzing::wire(data));
