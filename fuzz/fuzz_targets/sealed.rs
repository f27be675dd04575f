//! Fuzzes handshakes and sealed frames. The properties stand in `dunlin_links::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_links::fuzzing::sealed(data));
