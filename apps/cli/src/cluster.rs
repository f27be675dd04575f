//! The cluster: `swarm`, `cast` and `place`, and the hidden commands by which their processes start
//! one another.

pub(crate) mod args;
pub(crate) mod failures;
pub(crate) mod launch;
pub(crate) mod outputs;
pub(crate) mod parsers;
pub(crate) mod pipeline;
pub(crate) mod place;
pub(crate) mod plan;
pub(crate) mod policies;
pub(crate) mod progress;
pub(crate) mod ranks;
pub(crate) mod swarm;
pub(crate) mod table;
pub(crate) mod witness;
