//! BEP 3, "bencoding": the structural pass. One loop with a stack of open containers; every value
//! and key becomes a token of fixed size.

use crate::error::{DecodeError, Flaw};
use crate::node::Node;
use crate::token::{Kind, Token};

/// How exact an encoding must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only the canonical encoding, and nothing after it.
    Strict,
    /// Soft errors are marked and bytes after the value are left alone.
    Lenient,
}

/// The most that a document may ask of the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nested lists and dictionaries; a number or string alone has depth 0. At most [`MAX_DEPTH`]
    /// counts.
    pub depth: usize,
    /// Values and keys together. A token takes 20 bytes of memory.
    pub tokens: usize,
}

/// A depth that no [`Limits`] raises, so that walking a document by recursion is always safe.
pub const MAX_DEPTH: usize = 1_000;

impl Limits {
    /// A .torrent file: deep enough for any file tree, and as many tokens as common programs read.
    pub const TORRENT: Limits = Limits { depth: 100, tokens: 3_000_000 };
    /// An info dictionary that came from peers (BEP 9).
    pub const METADATA: Limits = Limits { depth: 100, tokens: 2_500_000 };
    /// A tracker's reply: a list of peers, never deep; 100 000 tokens are 14 000 peers in full.
    pub const TRACKER: Limits = Limits { depth: 8, tokens: 100_000 };
    /// A message of an extension or of the DHT, which fits in a packet or a frame.
    pub const MESSAGE: Limits = Limits { depth: 100, tokens: 10_000 };
}

/// A decoded document: the input and a token for every value and key.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    input: &'a [u8],
    tokens: Vec<Token>,
}

impl<'a> Document<'a> {
    /// The one value of the document.
    #[must_use]
    pub fn root(&self) -> Node<'_> {
        Node::new(self.input, &self.tokens, 0)
    }

    /// How many bytes of the input the value took; the rest is the caller's.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.tokens.first().map_or(0, |token| token.end as usize)
    }

    /// What follows the value in the input.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.input.get(self.consumed()..).unwrap_or_default()
    }

    /// How many values and keys there are.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The soft errors, in the order of the input. Always empty in strict mode.
    pub fn flaws(&self) -> impl Iterator<Item = Flaw> + '_ {
        self.tokens.iter().flat_map(|token| token.flaws())
    }
}

/// Reads one value from the start of `input`.
///
/// # Errors
/// If the bytes are no bencode, pass a limit, or, in strict mode, are not canonical or are followed
/// by more bytes.
pub fn decode(input: &[u8], mode: Mode, limits: Limits) -> Result<Document<'_>, DecodeError> {
    if u32::try_from(input.len()).is_err() {
        return Err(DecodeError::InputTooLong { found: input.len() });
    }
    let mut parser = Parser { input, at: 0, mode, limits, tokens: Vec::new(), open: Vec::new() };
    loop {
        parser.step()?;
        if parser.open.is_empty() {
            break;
        }
    }
    if mode == Mode::Strict && parser.at < input.len() {
        return Err(DecodeError::TrailingData { offset: parser.at });
    }
    Ok(Document { input, tokens: parser.tokens })
}

/// A list or dictionary whose end has not come yet.
struct Open {
    token: usize,
    dict: bool,
    key: Option<usize>,
    awaits_value: bool,
}

struct Parser<'a> {
    input: &'a [u8],
    at: usize,
    mode: Mode,
    limits: Limits,
    tokens: Vec<Token>,
    open: Vec<Open>,
}

impl Parser<'_> {
    /// Reads one token: a number, a string, or the begin or end of a container.
    fn step(&mut self) -> Result<(), DecodeError> {
        let byte = self.peek("a value")?;
        if let Some(open) = self.open.last() {
            if byte == b'e' {
                if open.awaits_value {
                    return Err(DecodeError::MissingValue { offset: self.at });
                }
                return self.close();
            }
            if open.dict && !open.awaits_value && !byte.is_ascii_digit() {
                return Err(DecodeError::KeyNotString { offset: self.at });
            }
        }
        match byte {
            b'i' => self.integer(),
            b'0'..=b'9' => self.string(),
            b'l' | b'd' => self.open(byte == b'd'),
            found => Err(self.unexpected(found, "a value")),
        }
    }

    fn peek(&self, expected: &'static str) -> Result<u8, DecodeError> {
        self.input
            .get(self.at)
            .copied()
            .ok_or(DecodeError::UnexpectedEnd { offset: self.at, expected })
    }

    fn unexpected(&self, found: u8, expected: &'static str) -> DecodeError {
        DecodeError::UnexpectedByte { offset: self.at, found, expected }
    }

    fn open(&mut self, dict: bool) -> Result<(), DecodeError> {
        let limit = self.limits.depth.min(MAX_DEPTH);
        if self.open.len() >= limit {
            return Err(DecodeError::TooDeep { offset: self.at, limit });
        }
        let start = self.at;
        self.at += 1;
        let kind = if dict { Kind::Dict } else { Kind::List };
        self.push(start, self.at, kind, 0)?;
        let token = self.tokens.len() - 1;
        self.open.push(Open { token, dict, key: None, awaits_value: false });
        Ok(())
    }

    fn close(&mut self) -> Result<(), DecodeError> {
        self.at += 1;
        let next = self.tokens.len() as u32;
        if let Some(open) = self.open.pop()
            && let Some(token) = self.tokens.get_mut(open.token)
        {
            token.end = self.at as u32;
            token.next = next;
        }
        self.value_ends()
    }

    fn integer(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        self.at += 1;
        let negative = self.peek("a digit")? == b'-';
        self.at += usize::from(negative);
        let first = self.at;
        while self.peek("`e` of an integer")?.is_ascii_digit() {
            self.at += 1;
        }
        let byte = self.peek("`e` of an integer")?;
        if self.at == first {
            return Err(self.unexpected(byte, "a digit"));
        }
        if byte != b'e' {
            return Err(self.unexpected(byte, "a digit or `e`"));
        }
        let zero_first = self.input.get(first) == Some(&b'0');
        let flawed = zero_first && (negative || self.at - first > 1);
        self.at += 1;
        self.push(start, start + 1, Kind::Integer, u8::from(flawed))?;
        self.value_ends()
    }

    fn string(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        let mut length = 0_usize;
        loop {
            let byte = self.peek("`:` of a byte string")?;
            if !byte.is_ascii_digit() {
                break;
            }
            length = length.saturating_mul(10).saturating_add(usize::from(byte - b'0'));
            self.at += 1;
        }
        let byte = self.peek("`:` of a byte string")?;
        if byte != b':' {
            return Err(self.unexpected(byte, "a digit or `:`"));
        }
        let flawed = self.at - start > 1 && self.input.get(start) == Some(&b'0');
        self.at += 1;
        let left = self.input.len() - self.at;
        if length > left {
            return Err(DecodeError::StringTooLong { offset: start, left });
        }
        let content = self.at;
        self.at += length;
        self.push(start, content, Kind::Bytes, u8::from(flawed) * 2)?;
        self.value_ends()
    }

    fn push(
        &mut self,
        start: usize,
        content: usize,
        kind: Kind,
        flaws: u8,
    ) -> Result<(), DecodeError> {
        let limit = self.limits.tokens;
        if self.tokens.len() >= limit {
            return Err(DecodeError::TooManyTokens { offset: start, limit });
        }
        let token = Token {
            start: start as u32,
            end: self.at as u32,
            content: content as u32,
            next: self.tokens.len() as u32 + 1,
            kind,
            flaws,
        };
        self.tokens.push(token);
        self.refuse_flaws(token)
    }

    fn refuse_flaws(&self, token: Token) -> Result<(), DecodeError> {
        match token.flaws().next() {
            Some(flaw) if self.mode == Mode::Strict => Err(DecodeError::NotCanonical(flaw)),
            _ => Ok(()),
        }
    }

    /// A value, or a key, is complete: in a dictionary the other of the two comes next.
    fn value_ends(&mut self) -> Result<(), DecodeError> {
        let Some(open) = self.open.last_mut().filter(|open| open.dict) else { return Ok(()) };
        open.awaits_value = !open.awaits_value;
        if !open.awaits_value {
            return Ok(());
        }
        let key = self.tokens.len() - 1;
        let before = open.key.replace(key);
        let bytes = |index: usize| {
            let token = self.tokens.get(index)?;
            self.input.get(token.content as usize..token.end as usize)
        };
        let flaw = match before.map(|before| bytes(before).cmp(&bytes(key))) {
            Some(std::cmp::Ordering::Greater) => 4,
            Some(std::cmp::Ordering::Equal) => 8,
            _ => 0,
        };
        let Some(token) = self.tokens.get_mut(key) else { return Ok(()) };
        token.flaws |= flaw;
        let token = *token;
        self.refuse_flaws(token)
    }
}

#[cfg(test)]
mod tests;
