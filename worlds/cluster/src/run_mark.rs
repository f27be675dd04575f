//! stub
use dunlin_base::Rank; use dunlin_disk::Fs; use std::{io, path::Path, sync::Arc};
/// x
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastRun { /// a
 pub died: Vec<Rank>, /// b
 pub unfinished: bool }
/// x
#[derive(Debug)]
pub struct RunMark;
/// x
pub enum Ending { /// x
Finished, /// x
Stopped }
impl RunMark { /// x
 pub fn begin(_fs:&Arc<dyn Fs>, _d:&Path, _r:Rank,_j:&str)->io::Result<RunMark>{Ok(RunMark)} /// x
 pub fn died(&self,_r:Rank){} /// x
 pub fn end(self,_h:Ending){} }
