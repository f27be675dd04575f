//! Fuzzes what a public tracker and its peers read. The properties stand in
//! `dunlin_tracker::fuzzing` and `dunlin_engine::tracker::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    dunlin_tracker::fuzzing::announce(data);
    dunlin_engine::tracker::fuzzing::hash_list(data);
});
