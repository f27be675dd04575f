use super::*;
use dunlin_base::hex;
use proptest::prelude::*;

/// The pattern of the specification's vectors: byte `i` is `i` modulo 251.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

fn leaves(bytes: &[u8]) -> Vec<Node> {
    bytes.chunks(BLOCK_LENGTH as usize).map(|block| Sha256::digest(block).into()).collect()
}

/// The piece layer of these leaves, without filling.
fn layer(leaves: &[Node], piece_length: u32) -> Vec<Node> {
    let height = piece_layer_of(piece_length);
    leaves.chunks(1 << height).map(|piece| root_over(piece, 0, height)).collect()
}

fn tree(leaves: &[Node], length: u64, piece_length: u32) -> FileTree {
    let layer = layer(leaves, piece_length);
    let layer = if layer.len() > 1 { layer } else { Vec::new() };
    FileTree::new(root_of(leaves, 0), length, piece_length, &layer).unwrap()
}

#[test]
fn vector_m5_zero_nodes() {
    let expected = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b",
        "db56114e00fdd4c1f85c892bf35ac9a89289aaecb1ebd0a96cde606a748b5d71",
        "c78009fdf07fc56a11f122370658a353aaa542ed63e44c4bc15ff4cd105ab33c",
        "536d98837f2dd165a55d5eeae91485954472d56f246df256bf3cae19352a123c",
        "9efde052aa15429fae05bad4d0b1d7c64da64d03d7a1854a588c2cb8430c0d30",
        "d88ddfeed400a8755596b21942c1497e114c302e6118290f91e6772976041fa1",
        "87eb0ddba57e35f6d286673802a4af5975e22506c7cf4c64bb6be5ee11527f2c",
        "26846476fd5fc54a5d43385167c95144f2643f533cc85bb9d16b782f8d7db193",
        "506d86582d252405b840018792cad2bf1259f1ef5aa5f887e13cb2f0094f51e1",
        "ffff0ad7e659772f9534c195c815efc4014ef1e1daed4404c06385d11192e92b",
    ];
    for (layer, expected) in expected.iter().enumerate() {
        assert_eq!(hex(&zero_node(layer as u32)), *expected, "{layer}");
        assert_eq!(hex(&root_over(&[], 0, layer as u32)), *expected, "{layer}");
    }
}

#[test]
fn vector_m6_roots() {
    let cases = [
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (5000, "69dbee893909fa17d1be397e0c07691336fe42049c29d403467d3d4a1fc3b5a1"),
        (16_383, "e08c7d58e58b9318263144a618d6f2b6f6825974decd9e6f9371567354b6f566"),
        (16_384, "4348e3b98e8a327b34ced39c1da9e67cdb4cd5e48e4d7960607a3ae403d35f0c"),
        (16_385, "9d7887c65d577a0237fb3c0998b87b3a62762d03796889a2caea01db914ccbb8"),
        (32_768, "d9e13d0b676ad681164ef0b7b5910d1328ea83a047cad57e619d76bbe3a08525"),
        (49_152, "c23d35ec942288a7d9b58d1d0446a76104660b7c72e5cf39f38bddb028ff8ca0"),
        (65_536, "2d6b546231225a7132a38ab354f03e9132e4b9141da89f1784b71ab2fb34fae3"),
        (65_537, "27e4ccf8e3d554bfce504235da1292c2c8beb24ba5b3e1cd62f41bd692517fbe"),
        (100_000, "505fc9a922f60ae071450b07256a4ba760612bffc38c27584ed03fd96c69841b"),
        (1_048_576, "cedf940612ac628d0e1eb980ad20f8cc17ea41c89b5f50e0afec0e1cc5c2d997"),
    ];
    for (length, expected) in cases {
        let leaves = leaves(&pattern(length));
        assert_eq!(hex(&root_of(&leaves, 0)), expected, "{length}");
        // Whatever the piece length, the layer leads to the same root.
        for piece_length in [16_384, 32_768, 65_536, 131_072] {
            let tree = tree(&leaves, length as u64, piece_length);
            assert_eq!(hex(&tree.root()), expected, "{length} {piece_length}");
        }
    }
}

#[test]
fn vector_m7_piece_layers() {
    let leaves = leaves(&pattern(100_000));
    let cases = [
        (16_384, 7, "4348e3b98e8a327b34ced39c1da9e67cdb4cd5e48e4d7960607a3ae403d35f0c"),
        (32_768, 4, "d9e13d0b676ad681164ef0b7b5910d1328ea83a047cad57e619d76bbe3a08525"),
        (65_536, 2, "2d6b546231225a7132a38ab354f03e9132e4b9141da89f1784b71ab2fb34fae3"),
    ];
    let last = [
        "411477fb697d41b362bc4deaf4773ed3aad5c9048760bcdc0994ce9e20dc1647",
        "ef72b5ef0b29bacc8de6bc437f8a488da617d064457122b7db2c4092374151f9",
        "7dce88ae5df0fc3365824283648ddc110b979be8fcbe5e7bcf50848bc4d93053",
    ];
    for ((piece_length, nodes, first), last) in cases.into_iter().zip(last) {
        let layer = layer(&leaves, piece_length);
        assert_eq!(layer.len(), nodes);
        assert_eq!((hex(&layer[0]), hex(&layer[nodes - 1])), (first.to_owned(), last.to_owned()));
        assert_eq!(root_of(&layer, piece_layer_of(piece_length)), root_of(&leaves, 0));
    }
}

#[test]
fn vector_w3_hashes_with_uncles() {
    let leaves = leaves(&pattern(1_048_576));
    let tree = tree(&leaves, 1_048_576, 65_536);
    assert_eq!(tree.layers(), 6);
    let span = HashSpan { base: 2, index: 4, length: 4, proof: 3 };
    let answer = tree.answer(span, &[]).unwrap();
    let expected = [
        "532dec85c33a36199bfd9e696f327e8ee168ada14da7d928b3f3093fef0c7f6a",
        "b305221983a577f6d5314122ae9ce02be4020f698c61299ac7fd1c3128be8e3e",
        "decb86b1201ad188f37f24ba286d83844fb96ba61e31de3ae32af182ec22c7f7",
        "c7e5e49ade414b23979b0835805c476985dc248aed6bf8c84f6412349c67ac86",
        "936f20cb9f0648c16ce2556795f1cc50ad21a3e3ec53ed8a6e554a75f8a4357f",
        "df69d2ca36b12f0e648ca1d5d356e417cb6e3d9c5c00b5c80b4dcd44b8e3e92f",
    ];
    assert_eq!(answer.iter().map(|node| hex(node)).collect::<Vec<_>>(), expected);
    assert!(check_proof(&tree.root(), 6, span, &answer));
    for at in 0..answer.len() {
        let mut wrong = answer.clone();
        wrong[at][31] ^= 1;
        assert!(!check_proof(&tree.root(), 6, span, &wrong), "{at}");
    }
    assert!(!check_proof(&tree.root(), 6, HashSpan { index: 0, ..span }, &answer));
    assert!(!check_proof(&tree.root(), 6, span, &answer[..5]));
    assert!(!check_proof(&tree.root(), 7, span, &answer));
}

#[test]
fn what_may_not_be_asked_is_rejected() {
    let leaves = leaves(&pattern(1_048_576));
    let tree = tree(&leaves, 1_048_576, 65_536);
    let span = HashSpan { base: 2, index: 4, length: 4, proof: 3 };
    let wrong = [
        HashSpan { base: 6, index: 0, length: 2, proof: 0 },
        HashSpan { base: u32::MAX, ..span },
        HashSpan { base: 1, ..span },
        HashSpan { length: 0, ..span },
        HashSpan { length: 1, ..span },
        HashSpan { length: 3, index: 3, ..span },
        HashSpan { length: 16_384, index: 0, ..span },
        HashSpan { index: 2, ..span },
        HashSpan { index: 16, ..span },
        HashSpan { index: u32::MAX - 3, ..span },
        HashSpan { proof: 4, ..span },
        HashSpan { proof: u32::MAX, ..span },
        // More leaves than those of one piece.
        HashSpan { base: 0, index: 0, length: 8, proof: 5 },
    ];
    for span in wrong {
        assert_eq!(tree.answer(span, &leaves), None, "{span:?}");
        assert_eq!(tree.needs_leaves(span), None, "{span:?}");
        assert!(!check_proof(&tree.root(), 6, span, &leaves), "{span:?}");
    }
}

#[test]
fn leaves_of_one_piece_are_proven_up_to_the_root() {
    let leaves = leaves(&pattern(1_000_000));
    let tree = tree(&leaves, 1_000_000, 65_536);
    for (index, piece) in [(0, 0), (4, 1), (60, 15)] {
        let span = HashSpan { base: 0, index, length: 4, proof: 5 };
        assert_eq!(tree.needs_leaves(span), Some(piece));
        let from = piece as usize * 4;
        let own = &leaves[from..leaves.len().min(from + 4)];
        let answer = tree.answer(span, own).unwrap();
        assert_eq!(answer.len(), 8);
        assert!(check_proof(&tree.root(), 6, span, &answer));
        // Half of the piece: its other half becomes the first uncle.
        let half = HashSpan { index: index + 2, length: 2, ..span };
        let answer = tree.answer(half, own).unwrap();
        assert!(check_proof(&tree.root(), 6, half, &answer));
        assert_eq!(tree.answer(span, &leaves[1..5]), None, "leaves of other blocks");
        assert_eq!(tree.answer(span, &[]), None);
    }
}

#[test]
fn layers_that_do_not_fit_make_no_tree() {
    let leaves = leaves(&pattern(100_000));
    let root = root_of(&leaves, 0);
    let layer = layer(&leaves, 32_768);
    let make = |length, layer: &[Node]| FileTree::new(root, length, 32_768, layer).is_some();
    assert!(make(100_000, &layer));
    assert!(!make(100_000, &layer[..3]) && !make(98_304, &layer) && !make(100_000, &[]));
    assert!(!make(200_000, &layer), "another length");
    let mut wrong = layer.clone();
    wrong.swap(0, 1);
    assert!(!make(100_000, &wrong));
}

#[test]
fn requests_cover_the_piece_layer() {
    let spans = |length| HashSpan::of_piece_layer(length, 32_768).collect::<Vec<_>>();
    assert_eq!(spans(32_768), []);
    assert_eq!(spans(0), []);
    assert_eq!(spans(32_769), [HashSpan { base: 1, index: 0, length: 2, proof: 0 }]);
    let pieces = |count: u64| spans(count * 32_768);
    assert_eq!(pieces(7), [HashSpan { base: 1, index: 0, length: 8, proof: 2 }]);
    let lengths: Vec<_> = pieces(1025).iter().map(|span| (span.index, span.length)).collect();
    assert_eq!(lengths, [(0, 512), (512, 512), (1024, 2)]);
}

proptest! {
    #[test]
    fn every_answer_is_right_for_its_tree_alone(
        count in 1_usize..200, short in 0_u64..16_384, shift in 0_u32..4,
        base in 0_u32..8, index in 0_u32..64, height in 1_u32..5, proof in 0_u32..8,
    ) {
        let leaves: Vec<Node> = (0..count).map(|i| Sha256::digest([i as u8]).into()).collect();
        let length = count as u64 * 16_384 - short;
        let tree = tree(&leaves, length, 16_384 << shift);
        let span = HashSpan { base, index: index << height, length: 1 << height, proof };
        let from = tree.needs_leaves(span).map_or(0, |piece| (piece as usize) << shift);
        let own = leaves.get(from..leaves.len().min(from + (1 << shift))).unwrap_or_default();
        if let Some(answer) = tree.answer(span, own) {
            prop_assert_eq!(answer.len(), span.hashes() as usize);
            let whole = proof + 1 + base == tree.layers();
            prop_assert_eq!(check_proof(&tree.root(), tree.layers(), span, &answer), whole
                || base + height == tree.layers());
        }
        let mut fetched = Vec::new();
        for span in HashSpan::of_piece_layer(length, 16_384 << shift) {
            let answer = tree.answer(span, &[]).unwrap();
            prop_assert!(check_proof(&tree.root(), tree.layers(), span, &answer));
            fetched.extend_from_slice(&answer[..span.length as usize]);
        }
        fetched.truncate(length.div_ceil(16_384 << shift) as usize);
        prop_assert!(FileTree::new(tree.root(), length, 16_384 << shift, &fetched).is_some());
    }
}
