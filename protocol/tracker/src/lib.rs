//! The tracker: control messages of a cluster, the swarm table and its orders.

mod control;

pub use control::{
    Control, FailedFile, Go, Load, Member, Outline, OwnedFile, Refresh, Register, ShutdownReason,
    Space, Standing, Swarm, Want,
};
