//! Bencode (BEP 3, "bencoding"): a borrowed tree over the input, and a canonical writer.
//!
//! [`decode()`] makes one structural pass over the bytes, without recursion, and keeps a span for
//! every value: the exact bytes of a dictionary can be hashed as they came. Numbers and texts are
//! converted on demand. Nesting and the number of tokens are limited. [`Mode::Strict`] accepts only
//! the one valid encoding of a value; [`Mode::Lenient`] tolerates and marks what real programs get
//! wrong (leading zeros, key order, duplicate keys). [`Writer`] writes the one valid encoding.
//!
//! This crate never copies the input, never reads past it, and never panics on it.
//!
//! ```
//! use dunlin_bencode::{Limits, Mode, Writer, decode};
//!
//! let document = decode(b"d3:cow3:moo4:spami7eerest", Mode::Lenient, Limits::MESSAGE)?;
//! let root = document.root().dict().ok_or("no dictionary")?;
//! assert_eq!(root.get("cow").and_then(|node| node.as_str()), Some("moo"));
//! assert_eq!(root.get("spam").and_then(|node| node.as_u64()), Some(7));
//! assert_eq!(document.consumed(), 21);
//!
//! let mut writer = Writer::new();
//! writer.dict().key("cow").bytes("moo").key("spam").integer(7).end();
//! assert_eq!(writer.finish()?, document.root().raw());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decode;
mod encode;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod node;
mod token;
mod value;

pub use decode::{Document, Limits, MAX_DEPTH, Mode, decode};
pub use encode::{WriteError, Writer};
pub use error::{DecodeError, Flaw, FlawKind};
pub use node::{Dict, DictIter, ListIter, Node};
pub use token::Kind;
pub use value::Value;
