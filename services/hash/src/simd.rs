//! SHA-1 (BEP 3, piece hashes) and SHA-256 (BEP 52, hashes of blocks) of several messages side by
//! side: each message has one lane of the processor's vector registers, and one instruction makes
//! the same step for all of them.
//!
//! One message alone cannot go faster than the processor's SHA instruction, in whatever library;
//! sixteen messages beside one another go several times as fast. Which way is taken is decided at
//! run time: 16 lanes with AVX-512, 8 lanes with AVX2, otherwise, or with `DUNLIN_PORTABLE_HASH=1`
//! in the environment, one message after another by the `sha1` and `sha2` crates.
//!
//! This module and the ones below it hold all unsafe code of the crate: calls of functions that
//! need certain processor instructions, and loads and stores of vectors.

use crate::job::{HashJob, StreamHash, ZEROS};
use sha2::{Digest, Sha256};
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
#[macro_use]
mod rounds;
#[cfg(target_arch = "x86_64")]
#[macro_use]
mod rounds256;
#[cfg(target_arch = "x86_64")]
mod sha1_x16;
#[cfg(target_arch = "x86_64")]
mod sha1_x8;
#[cfg(target_arch = "x86_64")]
mod sha256_x16;
#[cfg(target_arch = "x86_64")]
mod sha256_x8;

/// How messages are hashed side by side on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Width {
    /// Messages that one core hashes at the same time; 1 if it can only do one after another.
    pub(crate) lanes: usize,
    /// As many messages or more go faster side by side than one after another, with SHA-1.
    pub(crate) worth: usize,
    /// The same with SHA-256.
    worth_256: usize,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    OneByOne,
    #[cfg(target_arch = "x86_64")]
    Eight(sha1_x8::X8),
    #[cfg(target_arch = "x86_64")]
    Sixteen(sha1_x16::X16),
}

impl Width {
    const ONE: Width =
        Width { lanes: 1, worth: usize::MAX, worth_256: usize::MAX, way: Way::OneByOne };

    /// The fastest way of this machine, found out once.
    pub(crate) fn of_this_machine() -> Width {
        static FOUND: OnceLock<Width> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let portable = std::env::var_os("DUNLIN_PORTABLE_HASH");
            if portable.is_some_and(|value| value == "1") { Width::ONE } else { Width::detect() }
        })
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn detect() -> Width {
        Width::ONE
    }

    #[cfg(target_arch = "x86_64")]
    fn detect() -> Width {
        let alone_is_fast = is_x86_feature_detected!("sha");
        let choose = |fast, slow| if alone_is_fast { fast } else { slow };
        if let Some(kernel) = sha1_x16::X16::detect() {
            let worth = choose(sha1_x16::WORTH, sha1_x16::WORTH_WITHOUT_SHA);
            let worth_256 = choose(sha256_x16::WORTH, sha256_x16::WORTH_WITHOUT_SHA);
            Width { lanes: sha1_x16::LANES, worth, worth_256, way: Way::Sixteen(kernel) }
        } else if let Some(kernel) = sha1_x8::X8::detect() {
            let worth = choose(sha1_x8::WORTH, sha1_x8::WORTH_WITHOUT_SHA);
            let worth_256 = choose(sha256_x8::WORTH, sha256_x8::WORTH_WITHOUT_SHA);
            Width { lanes: sha1_x8::LANES, worth, worth_256, way: Way::Eight(kernel) }
        } else {
            Width::ONE
        }
    }

    /// SHA-1 of the messages, in order.
    fn sha1(self, jobs: &[HashJob]) -> Vec<[u8; 20]> {
        if jobs.len() < self.worth {
            return jobs.iter().map(one).collect();
        }
        match self.way {
            Way::OneByOne => jobs.iter().map(one).collect(),
            #[cfg(target_arch = "x86_64")]
            Way::Eight(kernel) => {
                lanes::side_by_side::<lanes::Sha1Function, _, _, _, _>(kernel, jobs, self.worth)
            }
            #[cfg(target_arch = "x86_64")]
            Way::Sixteen(kernel) => {
                lanes::side_by_side::<lanes::Sha1Function, _, _, _, _>(kernel, jobs, self.worth)
            }
        }
    }

    /// SHA-256 of the messages, in order.
    fn sha256(self, jobs: &[HashJob]) -> Vec<[u8; 32]> {
        if jobs.len() < self.worth_256 {
            return jobs.iter().map(one_256).collect();
        }
        match self.way {
            Way::OneByOne => jobs.iter().map(one_256).collect(),
            #[cfg(target_arch = "x86_64")]
            Way::Eight(kernel) => lanes::side_by_side::<lanes::Sha256Function, _, _, _, _>(
                kernel,
                jobs,
                self.worth_256,
            ),
            #[cfg(target_arch = "x86_64")]
            Way::Sixteen(kernel) => lanes::side_by_side::<lanes::Sha256Function, _, _, _, _>(
                kernel,
                jobs,
                self.worth_256,
            ),
        }
    }
}

/// SHA-1 of several pieces, in order: side by side where the processor can and it is faster.
#[must_use]
pub fn hash_pieces(jobs: &[HashJob]) -> Vec<[u8; 20]> {
    Width::of_this_machine().sha1(jobs)
}

/// SHA-256 of the messages, in order, the fastest way that this machine has.
#[must_use]
pub fn sha256_many(jobs: &[HashJob]) -> Vec<[u8; 32]> {
    Width::of_this_machine().sha256(jobs)
}

fn one(job: &HashJob) -> [u8; 20] {
    let mut hash = StreamHash::new();
    job.parts.iter().for_each(|part| hash.update(part));
    hash.finish(job.zeros)
}

fn one_256(job: &HashJob) -> [u8; 32] {
    let mut hash = Sha256::new();
    job.parts.iter().for_each(|part| hash.update(part));
    let mut left = job.zeros as usize;
    while left > 0 {
        let now = ZEROS.get(..left).unwrap_or(&ZEROS);
        hash.update(now);
        left -= now.len();
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
