//! `upload_only` (BEP 21): whether the sender wants nothing.

use crate::client::extension::{Extension, ExtensionContext, ExtensionMessage};
use bytes::Bytes;
use dunlin_wire::extended;

pub(super) const EXTENSION: Extension = Extension::of::<UploadOnly>();

/// Whether it wants nothing.
struct UploadOnly(bool);

impl ExtensionMessage for UploadOnly {
    const NAME: &'static str = extended::UPLOAD_ONLY;
    const LONGEST: usize = 1;
    const MALFORMED: &'static str = "upload_only of wrong size";

    fn decode(payload: &Bytes) -> Option<UploadOnly> {
        extended::read_upload_only(payload).map(UploadOnly).ok()
    }

    fn received(self, context: &mut ExtensionContext<'_>) {
        if let Some(peer) = context.peer() {
            peer.upload_only = self.0;
        }
    }
}
