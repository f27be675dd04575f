//! Jobs of one rank a process over TCP, on this host: by flags, by a launcher's environment, and by
//! standard input; ranks that die, come late or come back; and strangers at the door.

#[path = "../cli/common.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod common;
mod deaths;
mod job;
mod launch;
mod strangers;
mod swarms;
