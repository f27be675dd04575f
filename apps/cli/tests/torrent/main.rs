//! The commands around .torrent files as their users meet them.

#[path = "../cli/common.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod common;
mod verify;
