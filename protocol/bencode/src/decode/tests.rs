use super::*;
use crate::Value;
use crate::error::FlawKind;
use proptest::prelude::*;
use std::collections::BTreeMap;

const LIMITS: Limits = Limits::MESSAGE;

/// What a mode must say: accept, accept with a mark, or refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Ok,
    Soft,
    No,
}
use Says::{No, Ok as Yes, Soft};

fn says(input: &str, mode: Mode) -> Says {
    match decode(input.as_bytes(), mode, LIMITS) {
        Err(_) => No,
        Ok(document) if document.flaws().next().is_some() => Soft,
        Ok(_) => Yes,
    }
}

/// Table M-1: bytes, strict, lenient.
const TABLE: &[(&str, Says, Says)] = &[
    ("i0e", Yes, Yes),
    ("i-3e", Yes, Yes),
    ("i9223372036854775807e", Yes, Yes),
    ("i-0e", No, Soft),
    ("i03e", No, Soft),
    ("i-03e", No, Soft),
    ("ie", No, No),
    ("i-e", No, No),
    ("i 1e", No, No),
    ("i+1e", No, No),
    ("i1.0e", No, No),
    ("i1", No, No),
    ("i9223372036854775808e", Yes, Yes),
    ("0:", Yes, Yes),
    ("4:spam", Yes, Yes),
    ("04:spam", No, Soft),
    ("5:spam", No, No),
    ("-1:x", No, No),
    ("4spam", No, No),
    (":", No, No),
    ("le", Yes, Yes),
    ("l4:spam4:eggse", Yes, Yes),
    ("de", Yes, Yes),
    ("d3:cow3:moo4:spam4:eggse", Yes, Yes),
    ("d4:spaml1:a1:bee", Yes, Yes),
    ("d4:spam1:x3:cow1:ye", No, Soft),
    ("d1:a1:x1:a1:ye", No, Soft),
    ("d1:ae", No, No),
    ("di1e1:xe", No, No),
    ("d1:a", No, No),
    ("i1ei2e", No, Yes),
    ("", No, No),
    ("d2:ab1:x1:b1:ye", Yes, Yes),
    ("d1:b1:x2:ab1:ye", No, Soft),
    ("d1:a1:x2:aa1:ye", Yes, Yes),
    // Beyond the table.
    ("e", No, No),
    ("x", No, No),
    ("l", No, No),
    ("li1e", No, No),
    ("d1:a1:x2:ae", No, No),
    ("dle1:xe", No, No),
    ("99999999999999999999999999:x", No, No),
    ("000:", No, Soft),
    ("i-", No, No),
    ("d01:a1:x1:b1:ye", No, Soft),
];

#[test]
fn table_m1_in_both_modes() {
    for (input, strict, lenient) in TABLE {
        assert_eq!(says(input, Mode::Strict), *strict, "strict {input}");
        assert_eq!(says(input, Mode::Lenient), *lenient, "lenient {input}");
        crate::fuzzing::bencode(input.as_bytes());
    }
}

#[test]
fn what_is_wrong_is_said() {
    let cases = [
        ("", "bencode ends at byte 0, expected a value"),
        ("i1.0e", "bencode byte 2 is 0x2e, expected a digit or `e`"),
        ("i+1e", "bencode byte 1 is 0x2b, expected a digit"),
        ("l6:spame", "bencode string at byte 1 is longer than the 5 bytes that are left"),
        ("4spam", "bencode byte 1 is 0x73, expected a digit or `:`"),
        ("d1:ae", "bencode dictionary ends at byte 4 where a value had to come"),
        ("di1e1:xe", "bencode dictionary key at byte 1 is no byte string"),
        ("i1ei2e", "bencode value ends at byte 3 and more bytes follow"),
        ("i-0e", "bencode is not canonical: integer with leading zeros or minus zero at byte 0"),
        ("l04:spame", "bencode is not canonical: string length with leading zeros at byte 1"),
        ("d1:bi1e1:ai1ee", "bencode is not canonical: dictionary key out of order at byte 7"),
        ("d1:ai1e1:ai1ee", "bencode is not canonical: duplicate dictionary key at byte 7"),
    ];
    for (input, expected) in cases {
        let text = decode(input.as_bytes(), Mode::Strict, LIMITS).map_err(|e| e.to_string());
        assert_eq!(text.err().as_deref(), Some(expected), "{input}");
    }
}

#[test]
fn limits_of_depth_and_tokens() {
    let nested = |depth: usize| "l".repeat(depth) + &"e".repeat(depth);
    let limits = Limits { depth: 3, tokens: 5 };
    let read = |input: &str, limits| decode(input.as_bytes(), Mode::Strict, limits).map(|_| ());
    assert_eq!(read(&nested(3), limits), Ok(()));
    assert_eq!(read(&nested(4), limits), Err(DecodeError::TooDeep { offset: 3, limit: 3 }));
    assert_eq!(read("li1ei1ei1ei1ee", limits), Ok(()));
    let error = DecodeError::TooManyTokens { offset: 13, limit: 5 };
    assert_eq!(read("li1ei1ei1ei1ei1ee", limits), Err(error));
    assert_eq!(read("i1e", Limits { depth: 0, tokens: 1 }), Ok(()));
    assert!(read("le", Limits { depth: 0, tokens: 1 }).is_err());
    let endless = Limits { depth: usize::MAX, tokens: usize::MAX };
    let error = DecodeError::TooDeep { offset: MAX_DEPTH, limit: MAX_DEPTH };
    assert_eq!(read(&"l".repeat(1 << 20), endless), Err(error));
}

#[test]
fn integers_at_the_edges() {
    let cases: &[(&str, Option<i64>, Option<u64>)] = &[
        ("i0e", Some(0), Some(0)),
        ("i-0e", Some(0), Some(0)),
        ("i007e", Some(7), Some(7)),
        ("i-3e", Some(-3), None),
        ("i9223372036854775807e", Some(i64::MAX), Some(i64::MAX as u64)),
        ("i9223372036854775808e", None, Some(1 << 63)),
        ("i-9223372036854775808e", Some(i64::MIN), None),
        ("i-9223372036854775809e", None, None),
        ("i18446744073709551615e", None, Some(u64::MAX)),
        ("i18446744073709551616e", None, None),
        ("i99999999999999999999999999999999e", None, None),
        ("2:17", None, None),
    ];
    for (input, signed, unsigned) in cases {
        let document = decode(input.as_bytes(), Mode::Lenient, LIMITS);
        let document = document.unwrap_or_else(|error| panic!("{input}: {error}"));
        assert_eq!(document.root().as_i64(), *signed, "{input}");
        assert_eq!(document.root().as_u64(), *unsigned, "{input}");
    }
}

#[test]
fn spans_and_kinds() {
    let input = b"d1:ad1:xi1ee1:bl2:hi2:\xff\xfee1:ci5eetail";
    let document = decode(input, Mode::Lenient, LIMITS).unwrap();
    assert_eq!(document.rest(), b"tail");
    let root = document.root().dict().unwrap();
    let a = root.get("a").unwrap();
    assert_eq!((a.raw(), a.offset(), a.kind()), (&b"d1:xi1ee"[..], 4, Kind::Dict));
    let b: Vec<_> = root.get("b").unwrap().list().unwrap().collect();
    assert_eq!((b[0].as_str(), b[1].as_str()), (Some("hi"), None));
    assert_eq!(b[1].as_bytes(), Some(&b"\xff\xfe"[..]));
    assert_eq!(root.get("c").unwrap().as_digits(), Some(&b"5"[..]));
    assert!(root.get("c").unwrap().list().is_none() && root.get("d").is_none());
    let keys: Vec<_> = root.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [b"a", b"b", b"c"]);
}

#[test]
fn of_duplicates_the_first_counts() {
    let document = decode(b"d1:a1:x1:a1:y1:0i1ee", Mode::Lenient, LIMITS).unwrap();
    let root = document.root().dict().unwrap();
    assert_eq!(root.get("a").and_then(|node| node.as_str()), Some("x"));
    let kinds: Vec<_> = document.flaws().map(|flaw| (flaw.offset, flaw.kind)).collect();
    assert_eq!(kinds, [(7, FlawKind::DuplicateKey), (13, FlawKind::UnsortedKey)]);
    assert_eq!(root.get("0").and_then(|node| node.flaw()), None, "the flaw is the key's");
    assert!(root.node().flaw().is_some());
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Integer),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let key = prop::collection::vec(any::<u8>(), 0..4);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map(key, inner, 0..6)
                .prop_map(|map: BTreeMap<_, _>| Value::Dict(map)),
        ]
    })
}

proptest! {
    #[test]
    fn values_round_trip(value in values()) {
        let encoded = value.encode();
        let document = decode(&encoded, Mode::Strict, LIMITS).unwrap();
        prop_assert_eq!(document.root().to_value(), Some(value));
        crate::fuzzing::bencode(&encoded);
    }

    #[test]
    fn cut_or_changed_documents_keep_the_promises(
        value in values(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut encoded = value.encode();
        let at = at.index(encoded.len());
        prop_assert!(decode(&encoded[..at], Mode::Lenient, LIMITS).is_err());
        encoded[at] = byte;
        crate::fuzzing::bencode(&encoded);
    }

    #[test]
    fn any_bytes_keep_the_promises(bytes in prop::collection::vec(
        prop::sample::select(&b"ilde0123:-a\xff"[..]), 0..40)) {
        crate::fuzzing::bencode(&bytes);
    }
}
