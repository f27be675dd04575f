//! `lt_donthave` (BEP 54): the sender has lost a piece.

use crate::client::extension::{Extension, ExtensionContext, ExtensionMessage};
use bytes::Bytes;
use dunlin_wire::extended;

pub(super) const EXTENSION: Extension = Extension::of::<DontHave>();

/// The piece, as it stands on the wire.
struct DontHave(u32);

impl ExtensionMessage for DontHave {
    const NAME: &'static str = extended::DONT_HAVE;
    const LONGEST: usize = 4;
    const MALFORMED: &'static str = "lt_donthave of wrong size";

    fn decode(payload: &Bytes) -> Option<DontHave> {
        extended::read_dont_have(payload).map(DontHave).ok()
    }

    fn received(self, context: &mut ExtensionContext<'_>) {
        let (now, id, conn) = (context.now, context.torrent, context.conn);
        context
            .client
            .session
            .with(now, id, |torrent, shared| torrent.remove_piece(shared, conn, self.0));
    }
}
