//! Fuzzes in<R>.txt, wants, plan.toml and patterns. The properties stand in `dunlin_plan::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_plan::fuzzing::plan(data));
