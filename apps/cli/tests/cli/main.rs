//! The program as its users meet it: every test runs the built binary on a plan of its own making.

mod common;
mod rules;
mod trees;

mod bad_course;
mod bad_places;
mod bad_toml;
mod cast;
mod cast_repair;
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
mod hosts;
mod interrupt;
mod json;
mod launch;
mod lock;
mod missing;
mod no_share;
mod place;
mod policies;
mod quiet;
mod records;
mod resume;
mod sources;
mod toml_plan;
mod trace;
mod usage;
mod witness;
