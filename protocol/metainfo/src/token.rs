//! Token files: the course format's payload. A file is a list of tokens, each token is a piece, and
//! a piece is right when it equals its token.

use bytes::Bytes;
use dunlin_base::InfoHash;
use sha1::{Digest, Sha1};
use thiserror::Error;

use crate::geometry::MAX_PIECES;

/// The longest token in bytes: the largest frame that a fabric has to carry, since a token is one
/// block. Users of the course format meet no limit; hostile bytes do.
pub const MAX_TOKEN: usize = 16 << 20;

/// Why bytes are no token. The author of the file is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// A token of no bytes.
    #[error("a token is empty, expected 1 to {MAX_TOKEN} printable bytes")]
    Empty,
    /// A token that is too long for a block.
    #[error("a token of {found} bytes, expected 1 to {MAX_TOKEN}")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// Bytes that are not UTF-8.
    #[error("byte {offset} is not UTF-8 text: tokens are printable")]
    NotText {
        /// Where the text ends, in bytes.
        offset: usize,
    },
    /// White space or a control character.
    #[error("{found:?} at byte {offset} of a token: white space and control characters end tokens")]
    NotPrintable {
        /// Where the character is, in bytes.
        offset: usize,
        /// The character.
        found: char,
    },
    /// More tokens than pieces are allowed.
    #[error("more than {MAX_PIECES} tokens in one file")]
    TooMany,
    /// A fault in a line of a token file.
    #[error("line {line}: {fault}")]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        fault: Box<TokenError>,
    },
}

/// Checks one token: 1 to [`MAX_TOKEN`] bytes of UTF-8 without white space and control characters.
///
/// # Errors
/// If it is none; offsets count from its start.
pub fn check_token(token: &[u8]) -> Result<(), TokenError> {
    if token.is_empty() {
        return Err(TokenError::Empty);
    }
    if token.len() > MAX_TOKEN {
        return Err(TokenError::TooLong { found: token.len() });
    }
    let text = std::str::from_utf8(token)
        .map_err(|error| TokenError::NotText { offset: error.valid_up_to() })?;
    match text.char_indices().find(|(_, c)| c.is_whitespace() || c.is_control()) {
        Some((offset, found)) => Err(TokenError::NotPrintable { offset, found }),
        None => Ok(()),
    }
}

/// Reads a token file: tokens with white space between them. The tokens share one copy of `bytes`.
///
/// # Errors
/// If a token is no token (with its line), or there are too many.
pub fn parse_token_file(bytes: &[u8]) -> Result<Vec<Bytes>, TokenError> {
    let line_of = |offset: usize| {
        1 + bytes.get(..offset).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count()
    };
    let at = |offset, fault| TokenError::Line { line: line_of(offset), fault: Box::new(fault) };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        at(error.valid_up_to(), TokenError::NotText { offset: error.valid_up_to() })
    })?;
    let whole = Bytes::copy_from_slice(bytes);
    let mut tokens = Vec::new();
    for token in text.split_whitespace() {
        if tokens.len() >= MAX_PIECES as usize {
            return Err(TokenError::TooMany);
        }
        let offset = token.as_ptr().addr() - bytes.as_ptr().addr();
        check_token(token.as_bytes()).map_err(|fault| at(offset, fault))?;
        tokens.push(whole.slice(offset..offset + token.len()));
    }
    Ok(tokens)
}

/// The bytes of a token file: one token a line, with a final newline; nothing for no tokens.
#[must_use]
pub fn write_token_file(tokens: &[Bytes]) -> Vec<u8> {
    let mut out = Vec::with_capacity(tokens.iter().map(|token| token.len() + 1).sum());
    for token in tokens {
        out.extend_from_slice(token);
        out.push(b'\n');
    }
    out
}

/// The info-hash of a token file: SHA-1 over the name and the tokens, each with its length as eight
/// big-endian bytes before it, so that no two lists hash alike.
#[must_use]
pub fn token_info_hash(name: &str, tokens: &[Bytes]) -> InfoHash {
    let mut hasher = Sha1::new();
    for part in std::iter::once(name.as_bytes()).chain(tokens.iter().map(|token| token.as_ref())) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    InfoHash(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_is_tokens_with_white_space_between() {
        let tokens = parse_token_file("a1\n  b2\t\u{e9}\r\n\n".as_bytes());
        let expected = ["a1", "b2", "\u{e9}"].map(Bytes::from).to_vec();
        assert_eq!(tokens, Ok(expected.clone()));
        assert_eq!(write_token_file(&expected), "a1\nb2\n\u{e9}\n".as_bytes());
        assert_eq!(parse_token_file(b""), Ok(vec![]));
        assert_eq!(write_token_file(&[]), b"");
    }

    #[test]
    fn faults_name_their_line() {
        let cases: &[(&[u8], &str)] = &[
            (b"ok\n\nbad\x07", "line 3: '\\u{7}' at byte 3 of a token"),
            (b"ok\n\xff", "line 2: byte 3 is not UTF-8"),
        ];
        for (bytes, expected) in cases {
            let text = parse_token_file(bytes).map_err(|error| error.to_string());
            assert!(text.as_ref().is_err_and(|text| text.starts_with(expected)), "{text:?}");
        }
        let long = vec![b'x'; MAX_TOKEN + 1];
        assert_eq!(check_token(&long), Err(TokenError::TooLong { found: MAX_TOKEN + 1 }));
        assert_eq!(check_token(&long[1..]), Ok(()));
        assert_eq!(check_token(b""), Err(TokenError::Empty));
        assert_eq!(check_token(b"a b"), Err(TokenError::NotPrintable { offset: 1, found: ' ' }));
    }

    #[test]
    fn no_two_lists_hash_alike() {
        let hash = |name: &str, tokens: &[&'static str]| {
            let tokens: Vec<Bytes> = tokens.iter().map(|token| Bytes::from(*token)).collect();
            token_info_hash(name, &tokens)
        };
        let all = [
            hash("f", &["ab", "c"]),
            hash("f", &["a", "bc"]),
            hash("f", &["abc"]),
            hash("fa", &["bc"]),
            hash("f", &[]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all.iter().skip(index + 1).all(|other| other != one), "{index}");
        }
        assert_eq!(all[0].to_string(), "95b26c17650483fb03be741a069b747b3b2c2219");
        assert_eq!(all[4].to_string(), "764fee83bd39aa400580dadea66ccec82c4fee5a");
    }

    proptest! {
        #[test]
        fn written_tokens_read_back(texts in prop::collection::vec("[!-~à-ÿ]{1,9}", 0..20)) {
            let tokens: Vec<Bytes> = texts.into_iter().map(Bytes::from).collect();
            prop_assert_eq!(parse_token_file(&write_token_file(&tokens)), Ok(tokens));
        }
    }
}
