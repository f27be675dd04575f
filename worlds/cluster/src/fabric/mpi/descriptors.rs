//! Descriptors that a process was born with. A launcher keeps pipes and sockets to its ranks open
//! across exec, and takes it for a sign of life if a process that they started holds one.

use rustix::fs::OFlags;
use std::fs::File;
use std::io::Read;
use std::os::fd::RawFd;

/// The most that is read of the system's information about a descriptor, in bytes.
const MAX_INFO: u64 = 4096;

/// Closes every descriptor that came through exec, but the standard three.
///
/// Those that this program opened are not touched: it opens all of them with close-on-exec, and
/// what came through exec has that flag cleared. Does nothing where `/proc` is missing.
pub(crate) fn close_inherited() {
    for descriptor in inherited() {
        // SAFETY: a descriptor must not be closed while something in the process owns it. The
        // standard library and rustix open every descriptor with close-on-exec, and nothing here
        // clears that flag, so one without it was opened before exec. What came from there is owned
        // by nobody: no code of this program, nor of the crates it uses, takes up a descriptor
        // above the standard three by its number.
        unsafe { rustix::io::close(descriptor) }
    }
}

/// The descriptors above the standard three that are not closed on exec.
fn inherited() -> Vec<RawFd> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let number = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok()
    };
    // The list is made first: its own descriptor is among them, and is closed by then.
    let all: Vec<RawFd> = entries.filter_map(number).filter(|number| *number > 2).collect();
    all.into_iter().filter(|number| !closes_on_exec(*number).unwrap_or(true)).collect()
}

/// See proc_pid_fdinfo(5): the flags are octal.
fn closes_on_exec(descriptor: RawFd) -> Option<bool> {
    let mut text = String::new();
    let info = File::open(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
    info.take(MAX_INFO).read_to_string(&mut text).ok()?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
    Some(flags & OFlags::CLOEXEC.bits() != 0)
}
