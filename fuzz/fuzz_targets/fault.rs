//! Fuzzes the faults that a person can order. The properties stand in `dunlin_cluster::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        dunlin_cluster::fuzzing::fault(text);
    }
});
