//! The program as its users meet it: every test runs the built binary on a plan of its own making.

mod common;
mod rules;

mod bad_course;
mod bad_toml;
mod check;
mod clean;
mod closed_stdout;
mod conflict;
mod course;
mod dumps;
mod faults;
mod folders;
mod force;
mod help;
mod interrupt;
mod json;
mod launch;
mod lock;
mod missing;
mod no_share;
mod policies;
mod quiet;
mod records;
mod resume;
mod sources;
mod toml_plan;
mod trace;
mod usage;
mod witness;
