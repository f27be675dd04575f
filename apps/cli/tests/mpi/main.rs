//! One rank a process, as users of MPI meet it: every test starts the built binary under the real
//! launchers of Open MPI and MPICH. They need both, so a plain `cargo test` leaves them out.

#[path = "../cli/classic.rs"]
#[allow(dead_code, reason = "the tests of one process use the rest")]
mod classic;
#[path = "../cli/common.rs"]
#[allow(dead_code, reason = "the tests of one process use the rest")]
mod common;
#[path = "../cli/rules.rs"]
#[allow(dead_code, reason = "the tests of one process use the rest")]
mod rules;

mod job;
mod plans;
mod processes;

mod apart;
mod checker;
mod crowd;
mod deaths;
mod fabrics;
mod idle;
mod liar;
mod policies;
mod refusals;
mod signals;
mod threads;
