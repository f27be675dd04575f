//! stub
use crate::watch::Neighbour; use std::io;
/// x
pub struct Witness;
impl Witness { /// x
pub fn spawn(_n: &[Neighbour]) -> io::Result<Witness> { Ok(Witness) } }
