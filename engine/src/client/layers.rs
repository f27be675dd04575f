//! Piece layers from peers (BEP 52, "hash request"): the hashes of a torrent of version 2 that was
//! added by its name alone. Pure. Every answer is proved up to the root of its file, so that a peer
//! with a wrong one is convicted at once.

use bytes::Bytes;
use dunlin_base::{ConnId, Time};
use dunlin_metainfo::MissingLayer;
use dunlin_metainfo::merkle::{HashSpan, Node as TreeNode, check_proof, layers_of};
use dunlin_wire::HashRange;
use std::collections::BTreeMap;
use std::time::Duration;

/// Requests for hashes that one peer is sent at a time (practice).
const MAX_ASKED: usize = 2;
/// Hashes that do not come in this time are asked of another (practice: 3 s).
const DEADLINE: Duration = Duration::from_secs(5);
/// Who refused, or did not answer, is left alone for so long.
const REST: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
struct WantedLayer {
    root: TreeNode,
    length: u64,
    span: HashSpan,
    asked: Option<(ConnId, Time)>,
    nodes: Option<Vec<TreeNode>>,
}

/// Piece layers on their way.
#[derive(Clone, Debug)]
pub(super) struct LayerFetch {
    layers: Vec<MissingLayer>,
    wanted: Vec<WantedLayer>,
    /// No span before it is open.
    cursor: usize,
    missing: usize,
    rests: BTreeMap<ConnId, Time>,
}

/// What came of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nobody asked for it.
    Unrequested,
    /// It is right, or a refusal.
    Accepted,
    /// It does not belong to the tree: the sender lies.
    Wrong,
}

/// A request as it stands on the wire.
pub(super) fn range(root: TreeNode, span: HashSpan) -> HashRange {
    let HashSpan { base, index, length, proof } = span;
    HashRange { root, base, index, length, proof }
}

/// What a request from the wire asks for.
pub(super) fn span(range: &HashRange) -> HashSpan {
    let HashRange { base, index, length, proof, .. } = *range;
    HashSpan { base, index, length, proof }
}

/// Hashes one behind the other; a part of one at the end does not count.
pub(super) fn nodes(hashes: &[u8]) -> Vec<TreeNode> {
    hashes.chunks_exact(32).filter_map(|node| node.try_into().ok()).collect()
}

impl LayerFetch {
    /// Everything that is missing, of a torrent with pieces of this length.
    pub(super) fn new(layers: Vec<MissingLayer>, piece_length: u32) -> LayerFetch {
        let wanted: Vec<WantedLayer> = layers
            .iter()
            .flat_map(|layer| {
                let (root, length) = (layer.root, layer.length);
                HashSpan::of_piece_layer(length, piece_length).map(move |span| WantedLayer {
                    root,
                    length,
                    span,
                    asked: None,
                    nodes: None,
                })
            })
            .collect();
        let missing = wanted.len();
        LayerFetch { layers, wanted, cursor: 0, missing, rests: BTreeMap::new() }
    }

    /// What to ask of `conn` next, if anything.
    pub(super) fn next(&mut self, now: Time, conn: ConnId) -> Option<HashRange> {
        for wanted in self.wanted.iter_mut().skip(self.cursor) {
            if let Some((late, until)) = wanted.asked
                && until <= now
            {
                self.rests.insert(late, now + REST);
                wanted.asked = None;
            }
        }
        let rests = self.rests.get(&conn).is_some_and(|until| *until > now);
        let under_way = self.wanted.iter().skip(self.cursor).filter_map(|wanted| wanted.asked);
        if rests || under_way.filter(|(to, _)| *to == conn).count() >= MAX_ASKED {
            return None;
        }
        let open = |wanted: &&mut WantedLayer| wanted.asked.is_none() && wanted.nodes.is_none();
        let wanted = self.wanted.iter_mut().skip(self.cursor).find(open)?;
        wanted.asked = Some((conn, now + DEADLINE));
        Some(range(wanted.root, wanted.span))
    }

    /// When to look again for the time's sake.
    pub(super) fn wake(&self, now: Time) -> Option<Time> {
        let asked = self.wanted.iter().filter_map(|wanted| wanted.asked).map(|(_, until)| until);
        asked.chain(self.rests.values().copied().filter(|until| *until > now)).min()
    }

    /// A connection is gone.
    pub(super) fn gone(&mut self, conn: ConnId) {
        self.rests.remove(&conn);
        let theirs =
            |wanted: &&mut WantedLayer| wanted.asked.is_some_and(|(asked, _)| asked == conn);
        self.wanted.iter_mut().filter(theirs).for_each(|wanted| wanted.asked = None);
    }

    /// A peer answers, or refuses.
    pub(super) fn answered(
        &mut self,
        now: Time,
        conn: ConnId,
        asked: &HashRange,
        hashes: Option<&Bytes>,
    ) -> Answer {
        let wanted = self.wanted.iter_mut().find(|wanted| {
            wanted.asked.is_some_and(|(to, _)| to == conn)
                && range(wanted.root, wanted.span) == *asked
        });
        let Some(wanted) = wanted else { return Answer::Unrequested };
        wanted.asked = None;
        let Some(hashes) = hashes else {
            self.rests.insert(conn, now + REST);
            return Answer::Accepted;
        };
        let mut nodes = nodes(hashes);
        if !check_proof(&wanted.root, layers_of(wanted.length), wanted.span, &nodes) {
            return Answer::Wrong;
        }
        nodes.truncate(wanted.span.length as usize);
        wanted.nodes = Some(nodes);
        self.missing -= 1;
        while self.wanted.get(self.cursor).is_some_and(|wanted| wanted.nodes.is_some()) {
            self.cursor += 1;
        }
        Answer::Accepted
    }

    /// The layers, if all of them are here.
    pub(super) fn complete(&self) -> Option<BTreeMap<TreeNode, Vec<TreeNode>>> {
        if self.missing > 0 {
            return None;
        }
        let layer = |layer: &MissingLayer| {
            let parts = self.wanted.iter().filter(|wanted| wanted.root == layer.root);
            let nodes = parts.flat_map(|wanted| wanted.nodes.iter().flatten().copied());
            (layer.root, nodes.take(layer.pieces as usize).collect())
        };
        Some(self.layers.iter().map(layer).collect())
    }
}

#[cfg(test)]
mod tests;
