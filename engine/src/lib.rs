//! The engine decides.

pub mod io;
