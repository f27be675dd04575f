//! What must hold for any bytes at all. Fuzz targets and replay tests call this.

use crate::{Kind, Limits, Mode, Node, Writer, decode};

/// Asserts the decoder's promises on `data`.
///
/// # Panics
/// If a promise is broken.
pub fn bencode(data: &[u8]) {
    let strict = decode(data, Mode::Strict, Limits::MESSAGE);
    let Ok(document) = decode(data, Mode::Lenient, Limits::MESSAGE) else {
        assert!(strict.is_err(), "strict accepts what lenient refuses");
        return;
    };
    let consumed = document.consumed();
    assert!(consumed > 0 && consumed + document.rest().len() == data.len());
    assert!(document.tokens() <= consumed, "more tokens than bytes");
    let root = document.root();
    assert_eq!(root.raw(), &data[..consumed]);
    let canonical = document.flaws().next().is_none();
    assert_eq!(root.flaw(), document.flaws().next());
    assert_eq!(strict.is_ok(), canonical && consumed == data.len());
    let mut tokens = 0;
    visit(root, &mut tokens);
    assert_eq!(tokens, document.tokens(), "iteration visits every token once");
    if canonical {
        let mut writer = Writer::new();
        rewrite(root, &mut writer);
        assert_eq!(writer.finish().as_deref(), Ok(root.raw()));
    }
    if let Some(value) = root.to_value() {
        let encoded = value.encode();
        let again = decode(&encoded, Mode::Strict, Limits::MESSAGE);
        let again = again.ok().and_then(|document| document.root().to_value());
        assert_eq!(again, Some(value), "decode, encode, decode is stable");
        assert!(encoded.len() <= consumed, "the canonical form is never longer");
    }
}

fn visit(node: Node<'_>, tokens: &mut usize) {
    *tokens += 1;
    assert!(node.as_i64().is_none_or(|value| value < 0 || node.as_u64() == Some(value as u64)));
    for element in node.list().into_iter().flatten() {
        visit(element, tokens);
    }
    for (_, value) in node.dict().into_iter().flatten() {
        *tokens += 1;
        visit(value, tokens);
    }
}

fn rewrite(node: Node<'_>, writer: &mut Writer) {
    match node.kind() {
        Kind::Integer => _ = writer.raw(node.raw()),
        Kind::Bytes => _ = writer.bytes(node.as_bytes().unwrap_or_default()),
        Kind::List => {
            writer.list();
            node.list().into_iter().flatten().for_each(|element| rewrite(element, writer));
            writer.end();
        }
        Kind::Dict => {
            writer.dict();
            for (key, value) in node.dict().into_iter().flatten() {
                rewrite(value, writer.key(key));
            }
            writer.end();
        }
    }
}
