use super::*;
use crate::{
    FailedFile, LinkFrom, Load, Location, Member, OwnedFile, Provenance, Refresh, Register,
    ShutdownReason, Space, Start, Swarm, TorrentAssignment, Want,
};
use bytes::Bytes;
use dunlin_base::{Bitfield, FileIndex, PieceIndex, Rank, TorrentId};
use dunlin_metainfo::{EntryKind, EntryMeta, HashKind, PieceHashes, SetFile, SetInfo, TreeEntry};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;

/// Bytes that must be refused, each for its own reason.
#[test]
fn what_is_no_message() {
    let cases: [(&[u8], &str); 12] = [
        (b"", "a message needs 1 bytes, found 0"),
        (&[15], "15 is no tag of a message"),
        (&[2, 0], "1 bytes after its end"),
        (&[0, 0, 0], "progress needs 8 bytes, found 2"),
        (&[4, 255, 255, 255, 255], "a name needs 4294967295 bytes, found 0"),
        (&[4, 0, 0, 0, 1, 0xff], "a name is not UTF-8"),
        (&[4, 0, 0, 0, 4, b'a', b'/', b'.', b'.'], "`a/..` is refused"),
        (&[4, 0, 0, 0, 2, b'.', b'.'], "`..` is refused"),
        (&[4, 0, 0, 0, 0], "`` is refused"),
        (&[10, 0, 0, 0, 0, 255, 255, 255, 255], "files needs 17179869180 bytes, found 0"),
        (&[7, 0, 0, 0, 0, 2], "2 is no tag of forced"),
        (&[13, 9], "9 is no tag of a shutdown"),
    ];
    for (bytes, expected) in cases {
        let error = decode(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{bytes:?}: {error}");
    }
}

fn token_file(name: &str, tokens: &'static [&'static str]) -> OwnedFile {
    let hashes = tokens.iter().map(|token| Bytes::from_static(token.as_bytes())).collect();
    OwnedFile {
        name: name.to_owned(),
        length: tokens.len() as u64,
        piece_length: 1,
        hashes: PieceHashes::Tokens(hashes),
        pieces: None,
        provenance: Provenance::Owner,
        bytes: 3,
        sha256: None,
    }
}

#[test]
fn registrations_that_do_not_fit_together() {
    type Spoil = fn(&mut OwnedFile);
    let good = token_file("a", &["x", "y"]);
    let cases: [(&str, Spoil); 9] = [
        ("expected 3", |file| file.length = 3),
        ("its piece length is 0", |file| file.piece_length = 0),
        ("its piece length is 2, expected 1", |file| {
            file.piece_length = 2;
            file.length = 4;
        }),
        ("its bitfield is for 3 pieces, expected 2", |file| file.pieces = Some(Bitfield::new(3))),
        ("has no `/`", |file| file.name = "a/b".to_owned()),
        ("it names no file", |file| file.name = "..".to_owned()),
        ("control characters", |file| file.name = "a\n".to_owned()),
        ("a token is none", |file| *file = token_file("a", &["x", ""])),
        ("a token is none", |file| *file = token_file("a", &["x y", "z"])),
    ];
    for (expected, spoil) in cases {
        let mut file = good.clone();
        spoil(&mut file);
        let register = Register { files: vec![file], ..Register::default() };
        let error = register.check().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        let bytes = encode(&Control::Register(Box::new(register)));
        assert_eq!(decode(&bytes), Err(error));
    }
    let wants = vec![Want::Glob("a[".to_owned())];
    let register = Register { wants, ..Register::default() };
    assert!(decode(&encode(&Control::Register(Box::new(register)))).is_err());
}

#[test]
fn course_names_may_be_long() {
    let name = "n".repeat(5_000);
    let register = Register { files: vec![token_file(&name, &["x"])], ..Register::default() };
    let message = Control::Register(Box::new(register));
    assert_eq!(decode(&encode(&message)), Ok(message));
    let lookup = Control::Lookup { name };
    assert_eq!(decode(&encode(&lookup)), Ok(lookup));
}

#[test]
fn owners_must_fit_the_metainfo() {
    let swarm = |lens: [u32; 2]| {
        let owners = lens.map(|len| (Rank(len), Bitfield::full(len))).into();
        let name = "a".to_owned();
        let (torrent, members) = (TorrentId(0), vec![]);
        let swarm = Swarm { torrent, name, info: None, members, owners: Some(owners) };
        decode(&encode(&Control::Swarm(Box::new(swarm))))
    };
    assert!(swarm([9, 9]).is_ok());
    assert!(matches!(swarm([9, 8]), Err(ControlError::File { .. })));
}

fn bits() -> impl Strategy<Value = Bitfield> {
    vec(any::<bool>(), 0..70).prop_map(|bools| bitfield(&bools))
}

fn bitfield(bools: &[bool]) -> Bitfield {
    let mut field = Bitfield::new(bools.len() as u32);
    for (index, _) in bools.iter().enumerate().filter(|(_, bit)| **bit) {
        field.set(PieceIndex(index as u32));
    }
    field
}

fn sha1_file() -> impl Strategy<Value = OwnedFile> {
    let hashes = vec(any::<([u8; 20], bool)>(), 0..20);
    let provenance =
        prop_oneof![Just(Provenance::Owner), Just(Provenance::InPlace), Just(Provenance::Part)];
    ("[a-z]{1,5}(/[a-z]{1,5}){0,2}", 1_u32.., hashes, provenance, any::<(bool, u64)>()).prop_map(
        |(name, piece_length, hashes, provenance, (whole, bytes))| {
            let (hashes, bools): (Vec<[u8; 20]>, Vec<bool>) = hashes.into_iter().unzip();
            OwnedFile {
                name,
                length: hashes.len() as u64 * u64::from(piece_length),
                piece_length,
                hashes: PieceHashes::Sha1(hashes.into()),
                pieces: (!whole).then(|| bitfield(&bools)),
                provenance,
                bytes,
                sha256: whole.then_some([7; 32]),
            }
        },
    )
}

fn register() -> impl Strategy<Value = Register> {
    let file = prop_oneof![sha1_file(), Just(token_file("course.txt", &["a", "bc", "a"]))];
    let want = prop_oneof![
        "[a-z]{1,8}".prop_map(Want::Name),
        "[a-z]{1,4}/(\\*|\\*\\*|[a-z]\\?)".prop_map(Want::Glob),
    ];
    let space = proptest::option::of(any::<(u64, u64)>());
    let location = proptest::option::of(("[a-z]{0,5}", "[a-z]{0,5}", "[a-z/]{0,9}", any::<u64>()));
    let stands = proptest::option::of(vec(entry(), 0..3));
    let beside = (vec(entry(), 0..4), vec(failed(), 0..3), location, stands);
    (vec(file, 0..5), vec(want, 0..5), any::<(bool, bool, bool)>(), space, beside).prop_map(
        |(files, wants, flags, space, beside)| {
            let (shares, elsewhere, awaits_answers) = flags;
            let (entries, unreadable, location, stands) = beside;
            let space = space.map(|(device, free)| Space { device, free });
            let location =
                location.map(|(host, rack, dest, device)| Location { host, rack, dest, device });
            Register {
                files,
                wants,
                shares,
                space,
                entries,
                unreadable,
                location,
                elsewhere,
                stands,
                awaits_answers,
            }
        },
    )
}

fn failed() -> impl Strategy<Value = FailedFile> {
    (".{0,9}", ".{0,9}").prop_map(|(name, reason)| FailedFile { name, reason })
}

fn entry() -> impl Strategy<Value = TreeEntry> {
    let kind = prop_oneof![
        Just(EntryKind::File),
        Just(EntryKind::Directory),
        "[a-z./]{1,9}".prop_map(|target| EntryKind::Symlink { target }),
        "[a-m]{1,4}".prop_map(|to| EntryKind::HardLink { to }),
    ];
    let attributes = vec(("user\\.[a-z]{1,4}", vec(any::<u8>(), 0..9)), 0..3);
    let meta = (0_u32..0o10000, any::<(i64, u32, u32)>(), attributes);
    ("[n-z]{1,5}(/[a-z]{1,5}){0,2}", kind, meta).prop_map(
        |(name, kind, (mode, (modified, uid, gid), attributes))| TreeEntry {
            name,
            kind,
            meta: EntryMeta { mode, modified, uid, gid, attributes },
        },
    )
}

fn go() -> impl Strategy<Value = Start> {
    let names = || vec("[a-z]{1,5}(/[a-z]{1,5}){0,2}", 0..4);
    let link = proptest::option::of((any::<u32>(), "[a-z/]{0,9}"));
    let assignment = (any::<u32>(), names(), any::<(u32, bool, bool)>(), link).prop_map(
        |(torrent, names, (pieces, holds_all, wants), link)| TorrentAssignment {
            torrent: TorrentId(torrent),
            names,
            pieces,
            holds_all,
            wants,
            link: link.map(|(rank, dest)| LinkFrom { rank: Rank(rank), dest }),
        },
    );
    let absent = vec(any::<u32>().prop_map(Rank), 0..4);
    (vec(assignment, 0..4), vec(failed(), 0..4), absent, names(), vec(entry(), 0..4)).prop_map(
        |(torrents, missing, absent, replace, entries)| {
            let entries = entries.into();
            Start { torrents, missing, absent, replace, entries }
        },
    )
}

fn info() -> impl Strategy<Value = SetInfo> {
    vec(vec(any::<[u8; 20]>(), 0..5), 1..5).prop_map(|files| {
        let names = files.iter().enumerate().map(|(index, hashes)| SetFile {
            name: format!("dir/{index}"),
            length: (hashes.len() * 16) as u64,
        });
        let hashes = PieceHashes::Sha1(files.concat().into());
        SetInfo::new(HashKind::Sha1, 16, names.collect(), hashes).unwrap()
    })
}

fn swarm() -> impl Strategy<Value = Swarm> {
    let members = vec(any::<(u32, u64)>(), 0..6);
    let owners = proptest::option::of(vec(any::<u32>(), 0..5));
    (any::<u32>(), proptest::option::of(info()), members, owners, bits()).prop_map(
        |(torrent, info, members, owners, bits)| {
            let bits = match &info {
                Some(info) => Bitfield::full(info.hashes.len() as u32),
                None => bits,
            };
            let owner = |rank| (Rank(rank), bits.clone());
            Swarm {
                torrent: TorrentId(torrent),
                name: "dir/0".to_owned(),
                info: info.map(Arc::new),
                members: members
                    .into_iter()
                    .map(|(rank, load)| Member { rank: Rank(rank), load })
                    .collect(),
                owners: owners.map(|ranks| ranks.into_iter().map(owner).collect()),
            }
        },
    )
}

fn refresh() -> impl Strategy<Value = Refresh> {
    (vec((any::<u32>(), vec(any::<u32>(), 0..5)), 0..5), any::<bool>(), any::<u32>()).prop_map(
        |(torrents, forced, vain)| Refresh {
            torrents: torrents
                .into_iter()
                .map(|(torrent, pieces)| {
                    (TorrentId(torrent), pieces.into_iter().map(PieceIndex).collect())
                })
                .collect(),
            forced,
            vain,
        },
    )
}

fn control() -> impl Strategy<Value = Control> {
    let files = || vec(any::<u32>().prop_map(FileIndex), 0..5);
    let shutdown = prop_oneof![
        Just(ShutdownReason::Done),
        ".{0,20}".prop_map(ShutdownReason::Refused),
        Just(ShutdownReason::Checked),
        Just(ShutdownReason::Interrupted),
    ];
    prop_oneof![
        any::<(u64, u64)>().prop_map(|(done, total)| Control::Checking { done, total }),
        register().prop_map(|register| Control::Register(Box::new(register))),
        Just(Control::Alive),
        go().prop_map(|go| Control::Start(Box::new(go))),
        "[a-z]{1,9}".prop_map(|name| Control::Lookup { name }),
        swarm().prop_map(|swarm| Control::Swarm(Box::new(swarm))),
        (".{0,9}", ".{0,9}").prop_map(|(name, reason)| Control::Refused { name, reason }),
        refresh().prop_map(Control::Refresh),
        Just(Control::LoadQuery),
        any::<(u64, u64)>()
            .prop_map(|(served, in_flight)| Control::Load(Load { served, in_flight })),
        (any::<u32>(), files()).prop_map(|(torrent, files)| Control::FileComplete {
            torrent: TorrentId(torrent),
            files,
        }),
        (any::<(u32, bool)>(), files()).prop_map(|((torrent, last), files)| Control::Linkable {
            torrent: TorrentId(torrent),
            files,
            last,
        }),
        vec(failed(), 0..4).prop_map(|failed| Control::AllComplete { failed }),
        any::<u32>().prop_map(|rank| Control::Departed { rank: Rank(rank) }),
        shutdown.prop_map(Control::Shutdown),
    ]
}

proptest! {
    #[test]
    fn every_message_survives(message in control()) {
        let bytes = encode(&message);
        prop_assert_eq!(decode(&bytes), Ok(message));
        crate::fuzzing::control(&bytes);
    }

    #[test]
    fn every_cut_is_refused(message in control(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&message);
        let cut = cut.index(bytes.len());
        prop_assert!(decode(&bytes[..cut]).is_err());
    }

    #[test]
    fn spoilt_bytes_keep_the_properties(
        message in control(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encode(&message);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        crate::fuzzing::control(&bytes);
    }

    #[test]
    fn any_bytes_keep_the_properties(data in vec(any::<u8>(), 0..200), tag in 0_u8..15) {
        crate::fuzzing::control(&data);
        crate::fuzzing::control(&[&[tag][..], &data].concat());
    }
}
