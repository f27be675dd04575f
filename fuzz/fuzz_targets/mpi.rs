//! Fuzzes the stream between two ranks and the parcels on it. The properties stand in
//! `dunlin_cluster::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_cluster::fuzzing::mpi_stream(data));
