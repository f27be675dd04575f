//! `ut_metadata` (BEP 9): requests for the info dictionary are answered here, what peers answer
//! goes on to `magnet`.

use crate::client::extension::{Extension, ExtensionContext, ExtensionEvent, ExtensionMessage};
use bytes::Bytes;
use dunlin_wire::extended::{self, METADATA_PIECE, MetadataMessage, metadata_pieces};

pub(super) const EXTENSION: Extension = Extension::of::<Metadata>();

/// The longest message about metadata: a piece and its dictionary (practice: 17 KiB).
const MAX_METADATA_MESSAGE: usize = 17 << 10;
/// A peer that was given so many times the metadata that there is does not want it (practice: 3), …
const MAX_METADATA_TURNS: u32 = 3;
/// … though everybody is given so many pieces: metadata may be one.
const MIN_METADATA_REQUESTS: u32 = 16;

/// A message; `None` is one of a type that nobody knows yet.
struct Metadata(Option<MetadataMessage>);

impl ExtensionMessage for Metadata {
    const NAME: &'static str = extended::UT_METADATA;
    const LONGEST: usize = MAX_METADATA_MESSAGE;
    const IN_PRIVATE: bool = false;
    const MALFORMED: &'static str = "a message about metadata that makes no sense";

    fn decode(payload: &Bytes) -> Option<Metadata> {
        MetadataMessage::decode(payload).map(Metadata).ok()
    }

    fn received(self, context: &mut ExtensionContext<'_>) {
        match self.0 {
            Some(MetadataMessage::Request { piece }) => answer(context, piece),
            Some(message) => context.event = Some(ExtensionEvent::Metadata(message)),
            None => {}
        }
    }
}

fn answer(context: &mut ExtensionContext<'_>, piece: u32) {
    let client = &mut *context.client;
    let (entry, known) =
        (client.torrents.get(&context.torrent), client.peers.get_mut(&context.conn));
    let (Some(entry), Some(known)) = (entry, known) else { return };
    if known.extension_id(context.name) == 0 {
        return;
    }
    let passes = !entry.internet.private && known.metadata.passes(context.now).is_ok();
    let data = entry.internet.info.as_ref().filter(|_| passes).and_then(|info| {
        let total_size = u32::try_from(info.len()).ok()?;
        let most = metadata_pieces(total_size).saturating_mul(MAX_METADATA_TURNS);
        let begin = piece.checked_mul(METADATA_PIECE).filter(|begin| *begin < total_size)?;
        let end = begin.saturating_add(METADATA_PIECE).min(total_size);
        let welcome = known.metadata_given < most.max(MIN_METADATA_REQUESTS);
        let data = info.slice(begin as usize..end as usize);
        welcome.then_some(MetadataMessage::Data { piece, total_size, data })
    });
    if data.is_some() {
        known.metadata_given += 1;
        known.metadata.take(METADATA_PIECE);
    }
    context.reply(data.unwrap_or(MetadataMessage::Reject { piece }).encode());
}
