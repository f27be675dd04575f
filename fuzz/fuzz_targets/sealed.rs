//! Fuzzes handshakes and sealed frames. The properties stand in `dunlin_sockets::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_sockets::fuzzing::sealed(data));
