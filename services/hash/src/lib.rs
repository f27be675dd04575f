//! SHA-1 and SHA-256 of pieces (BEP 3, BEP 52): several side by side in the lanes of the
//! processor's vector registers, on a pool of threads.
//!
//! It opens no file and knows no torrent: bytes go in, hashes come out. `simd` has all its unsafe
//! code.
//!
//! ```
//! use bytes::Bytes;
//! use dunlin_hash::{HashJob, hash_pieces};
//!
//! let bytes = Bytes::from_static(b"hello");
//! let hashes = hash_pieces(&[HashJob { parts: vec![bytes], zeros: 3 }]);
//! assert_eq!(hashes.len(), 1);
//! ```

mod job;
mod pieces;
mod pool;
mod sha256;
#[allow(unsafe_code, reason = "vector instructions: see docs/unsafe.md")]
mod simd;

pub use job::{HashJob, StreamHash, ZEROS, block_digest};
pub use pieces::{PieceCheck, PieceJob, leaf_hashes, merkle_root, verify_pieces};
pub use pool::HashPool;
pub use sha256::Sha256;
pub use simd::{hash_pieces, sha256_many};
