use super::*;
use dunlin_base::FileIndex;
use dunlin_metainfo::merkle::{FileTree, root_of};

const A: ConnId = ConnId(1);
const B: ConnId = ConnId(2);
const PIECE: u32 = 16 << 10;

fn at(seconds: u64) -> Time {
    Time::from_duration(Duration::from_secs(seconds))
}

/// The tree of a file of so many pieces of one block.
fn tree(pieces: u32) -> (MissingLayer, FileTree, Vec<TreeNode>) {
    let layer: Vec<TreeNode> = (0..pieces).map(|piece| [piece as u8; 32]).collect();
    let (root, length) = (root_of(&layer, 0), u64::from(pieces) * u64::from(PIECE));
    let missing = MissingLayer { root, file: FileIndex(0), length, pieces };
    (missing, FileTree::new(root, length, PIECE, &layer).unwrap(), layer)
}

fn answer(tree: &FileTree, range: &HashRange) -> Bytes {
    tree.answer(span(range), &[]).unwrap().concat().into()
}

#[test]
fn layers_come_in_spans_from_several_peers() {
    let (missing, tree, layer) = tree(1200);
    let mut fetch = LayerFetch::new(vec![missing], PIECE);
    let asks = [A, A, B].map(|conn| fetch.next(at(0), conn).unwrap());
    assert_eq!(asks.map(|range| (range.index, range.length)), [(0, 512), (512, 512), (1024, 256)]);
    assert_eq!((fetch.next(at(0), A), fetch.next(at(0), B)), (None, None));
    for (conn, range) in [A, A, B].into_iter().zip(asks) {
        assert_eq!(fetch.complete(), None);
        let hashes = answer(&tree, &range);
        assert_eq!(fetch.answered(at(0), conn, &range, Some(&hashes)), Answer::Accepted);
        assert_eq!(fetch.answered(at(0), conn, &range, Some(&hashes)), Answer::Unrequested);
    }
    assert_eq!(fetch.complete().unwrap()[&missing.root], layer);
}

#[test]
fn lies_refusals_and_silence() {
    let (missing, tree, _) = tree(3);
    let mut fetch = LayerFetch::new(vec![missing], PIECE);
    let range = fetch.next(at(0), A).unwrap();
    let mut bad = answer(&tree, &range).to_vec();
    bad[40] ^= 1;
    assert_eq!(fetch.answered(at(0), B, &range, Some(&bad.clone().into())), Answer::Unrequested);
    assert_eq!(fetch.answered(at(0), A, &range, Some(&bad.into())), Answer::Wrong);
    assert!(fetch.next(at(0), A).is_some());
    assert_eq!(fetch.answered(at(0), A, &range, None), Answer::Accepted);
    assert_eq!(fetch.next(at(1), A), None, "who refuses is left alone");
    assert!(fetch.next(at(1), B).is_some());
    assert_eq!(fetch.wake(at(1)), Some(at(6)));
    assert_eq!(fetch.next(at(6), B), None, "who is silent, too");
    assert!(fetch.next(at(10), A).is_some());
    fetch.gone(A);
    assert!(fetch.next(at(17), B).is_some());
}
