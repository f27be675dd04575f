//! A cluster: ranks that want files of one another (`member`), and rank 0, which brings them
//! together (`coordinator`).

pub mod coordinator;
mod course;
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod io;
pub mod member;
mod order;
mod planner;
mod profile;
mod swarm_table;

pub use order::{TrackerMap, TrackerOrder, UnknownPolicy};
pub use planner::{
    Admission, Conflict, Holding, LateAssignment, MAX_SET_PIECES, Move, Obstacle, OnConflict,
    PlannedSets, Rules, SetPlan, Sets, Tree, UnwantedFile, admit, make_sets,
};
pub use swarm_table::{DumpRow, Listing, SwarmTable};
