//! Whole runs of a cluster, in virtual time and on threads: one program, since most files need the
//! same plans. What counts the threads of its process has one of its own.

mod common;

mod course;
mod faults;
mod files;
mod memory;
mod placing;
mod schedule;
mod spread;
mod trees;
mod virtual_time;
