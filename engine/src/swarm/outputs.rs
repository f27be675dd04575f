//! The outputs of a driver, in one order with those of its core.

use crate::swarm::io::SwarmOutput;
use crate::swarm::session::{Session, pop};
use std::collections::VecDeque;

/// What a driver asks of its world. What the core asked for before comes out before it.
#[derive(Debug)]
pub(crate) struct OutputQueue<T>(VecDeque<T>);

impl<T: From<SwarmOutput>> OutputQueue<T> {
    pub(crate) fn new() -> OutputQueue<T> {
        OutputQueue(VecDeque::new())
    }

    /// Adds an output of the driver behind all that the core has asked for so far.
    pub(crate) fn push(&mut self, session: &mut Session, output: T) {
        while let Some(earlier) = session.poll() {
            self.0.push_back(earlier.into());
        }
        self.0.push_back(output);
    }

    /// The next output of either, until `None`.
    pub(crate) fn poll(&mut self, session: &mut Session) -> Option<T> {
        pop(&mut self.0).or_else(|| session.poll().map(T::from))
    }
}
