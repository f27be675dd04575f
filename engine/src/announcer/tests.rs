//! Announces of one swarm.
