//! `dunlin_ping`: a peer sends eight bytes, and receives them again.
//!
//! In the engine this file stands in `engine/src/client/extensions`, where
//! `crate::client::extension` takes the place of `dunlin_engine::client::extension`, and `mod
//! dunlin_ping;` in `extensions!` registers it.

use bytes::Bytes;
use dunlin_engine::client::extension::{Extension, ExtensionContext, ExtensionMessage};

pub(super) const EXTENSION: Extension = Extension::of::<Ping>();

/// What comes again.
struct Ping([u8; 8]);

impl ExtensionMessage for Ping {
    const NAME: &'static str = "dunlin_ping";
    const LONGEST: usize = 8;
    const MALFORMED: &'static str = "dunlin_ping of wrong size";

    fn decode(payload: &Bytes) -> Option<Ping> {
        payload[..].try_into().map(Ping).ok()
    }

    fn received(self, context: &mut ExtensionContext<'_>) {
        context.reply(Bytes::copy_from_slice(&self.0));
    }
}
