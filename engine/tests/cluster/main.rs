//! A coordinator and members in virtual time: one program, since all its files need the same world.

#[path = "../cluster_world/mod.rs"]
mod cluster_world;

mod faults;
mod golden;
mod random;
mod swarms;
