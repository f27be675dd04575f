//! TCP links between parties that share a key: a listener that opens for who has it, dialling, and
//! frames that nobody else can read, change, repeat, drop or reorder.
//!
//! What is sent is handed to the system only as fast as the network carries it away, so that
//! whoever sends knows what was sent. A body is received where its reader wants it, and opened in
//! place.
//!
//! This crate never decides whom to dial or what to send, never keeps a queue, never makes a link
//! anew, never answers who has no key, and knows nothing of pieces, ranks' business or disks.
//!
//! ```
//! use dunlin_base::Rank;
//! use dunlin_links::{Listener, JobKey, Party, dial};
//! use std::{sync::mpsc::channel, time::Duration};
//!
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! runtime.block_on(async {
//!     let second = Duration::from_secs(1);
//!     let key = JobKey::random()?;
//!     let party = |rank| Party { key: key.clone(), rank: Rank(rank), life: 7 };
//!     let listener = Listener::open("127.0.0.1:0".parse()?)?;
//!     let address = listener.address();
//!     let (enter, entered) = channel();
//!     tokio::spawn(listener.serve(party(0), second, move |link| enter.send(link).unwrap()));
//!
//!     let mut link = dial(&party(3), Rank(0), address, second, second).await?;
//!     link.sender.seal(1, &[b"good ", b"morning"])?;
//!     link.sender.flush().await?;
//!
//!     let mut other = tokio::task::spawn_blocking(move || entered.recv()).await??;
//!     assert_eq!(other.remote.rank, Rank(3));
//!     let head = other.receiver.head().await?;
//!     let mut body = vec![0; head.length];
//!     other.receiver.body(head, &mut body).await?;
//!     assert_eq!((head.kind, body), (1, b"good morning".to_vec()));
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod addresses;
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod key;
mod link;
mod listener;
mod seal;
mod slots;
mod tuning;

pub use addresses::{local_addresses, towards};
pub use handshake::{ANSWER, HELLO, HandshakeError, Party, Remote};
pub use key::{JobKey, NoRandomness};
pub use link::{Link, LinkError, LinkReceiver, LinkSender, Shutdown};
pub use listener::{DialError, Listener, bind, dial};
pub use seal::{AuthError, HEAD, Head, MAX_FRAME, TAG, TooLong};
pub use slots::{ConnectionSlot, ConnectionSlots};
