//! What goes into the core and what comes out of it.

pub use crate::io::{
    Event as SwarmEvent, HangUpReason, Input as SwarmInput, LocalError, Output as SwarmOutput,
};
