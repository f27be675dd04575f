//! The engine decides.

pub mod choker;
pub mod config;
pub mod io;
