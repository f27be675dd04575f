//! Typed access to the values of a document. A wrong type is `None`: for an optional key that is
//! the same as an absent one.

use crate::error::Flaw;
use crate::token::{Kind, Token};
use crate::value::Value;
use std::collections::BTreeMap;

/// One value of a document.
#[derive(Clone, Copy, Debug)]
pub struct Node<'d> {
    input: &'d [u8],
    tokens: &'d [Token],
    index: usize,
}

const NOTHING: Token = Token { start: 0, end: 0, content: 0, next: 0, kind: Kind::Bytes, flaws: 0 };

impl<'d> Node<'d> {
    pub(crate) fn new(input: &'d [u8], tokens: &'d [Token], index: usize) -> Node<'d> {
        Node { input, tokens, index }
    }

    fn token(&self) -> Token {
        self.tokens.get(self.index).copied().unwrap_or(NOTHING)
    }

    fn span(&self, from: u32, to: u32) -> &'d [u8] {
        self.input.get(from as usize..to as usize).unwrap_or_default()
    }

    /// What kind of value this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.token().kind
    }

    /// The exact bytes of the value in the input, as they are hashed and signed.
    #[must_use]
    pub fn raw(&self) -> &'d [u8] {
        let token = self.token();
        self.span(token.start, token.end)
    }

    /// Where the value begins, in bytes from the start of the input.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.token().start as usize
    }

    /// The digits of an integer of any size, with a minus sign if there is one.
    #[must_use]
    pub fn as_digits(&self) -> Option<&'d [u8]> {
        let token = self.token();
        (token.kind == Kind::Integer).then(|| self.span(token.content, token.end - 1))
    }

    /// The integer; `None` if it is another kind of value or is outside of `i64`.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        let digits = self.as_digits()?;
        match digits.strip_prefix(b"-") {
            Some(digits) => 0_i64.checked_sub_unsigned(magnitude(digits)?),
            None => i64::try_from(magnitude(digits)?).ok(),
        }
    }

    /// The integer; `None` if it is another kind of value, negative, or outside of `u64`.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        let digits = self.as_digits()?;
        match digits.strip_prefix(b"-") {
            Some(digits) => magnitude(digits).filter(|value| *value == 0),
            None => magnitude(digits),
        }
    }

    /// The bytes of a byte string.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'d [u8]> {
        let token = self.token();
        (token.kind == Kind::Bytes).then(|| self.span(token.content, token.end))
    }

    /// A byte string that is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&'d str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The elements of a list, in order.
    #[must_use]
    pub fn list(&self) -> Option<ListIter<'d>> {
        (self.kind() == Kind::List).then(|| ListIter(self.children()))
    }

    /// The dictionary.
    #[must_use]
    pub fn dict(&self) -> Option<Dict<'d>> {
        (self.kind() == Kind::Dict).then_some(Dict(*self))
    }

    /// The first soft error of the value and of all values in it. Costs a pass over them.
    #[must_use]
    pub fn flaw(&self) -> Option<Flaw> {
        let end = self.token().next as usize;
        let tokens = self.tokens.get(self.index..end).unwrap_or_default();
        tokens.iter().find_map(|token| token.flaws().next())
    }

    /// An owned copy; of duplicate keys the first counts. `None` if an integer in it is outside of
    /// `i64`.
    #[must_use]
    pub fn to_value(&self) -> Option<Value> {
        Some(match self.kind() {
            Kind::Integer => Value::Integer(self.as_i64()?),
            Kind::Bytes => Value::Bytes(self.as_bytes()?.to_vec()),
            Kind::List => Value::List(
                self.list()?.map(|element| element.to_value()).collect::<Option<Vec<_>>>()?,
            ),
            Kind::Dict => {
                let mut map = BTreeMap::new();
                for (key, value) in self.dict()?.iter() {
                    let value = value.to_value()?;
                    map.entry(key.to_vec()).or_insert(value);
                }
                Value::Dict(map)
            }
        })
    }

    fn children(&self) -> Children<'d> {
        let end = self.token().next as usize;
        Children { next: Node { index: self.index + 1, ..*self }, end }
    }
}

fn magnitude(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0')))
    })
}

#[derive(Clone, Debug)]
struct Children<'d> {
    next: Node<'d>,
    end: usize,
}

impl<'d> Iterator for Children<'d> {
    type Item = Node<'d>;

    fn next(&mut self) -> Option<Node<'d>> {
        if self.next.index >= self.end {
            return None;
        }
        let node = self.next;
        self.next.index = node.token().next as usize;
        Some(node)
    }
}

/// The elements of a list, in order.
#[derive(Clone, Debug)]
pub struct ListIter<'d>(Children<'d>);

impl<'d> Iterator for ListIter<'d> {
    type Item = Node<'d>;

    fn next(&mut self) -> Option<Node<'d>> {
        self.0.next()
    }
}

/// A dictionary of a document.
#[derive(Clone, Copy, Debug)]
pub struct Dict<'d>(Node<'d>);

impl<'d> Dict<'d> {
    /// The value of `key`; of duplicates the first. Searches the keys one after another.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Node<'d>> {
        let key = key.as_ref();
        self.iter().find(|(found, _)| *found == key).map(|(_, value)| value)
    }

    /// Keys and values in the order of the input; in lenient mode a key may come twice.
    #[must_use]
    pub fn iter(&self) -> DictIter<'d> {
        DictIter(self.0.children())
    }

    /// The dictionary as a value, for its raw bytes.
    #[must_use]
    pub fn node(&self) -> Node<'d> {
        self.0
    }
}

impl<'d> IntoIterator for Dict<'d> {
    type Item = (&'d [u8], Node<'d>);
    type IntoIter = DictIter<'d>;

    fn into_iter(self) -> DictIter<'d> {
        self.iter()
    }
}

/// Keys and values of a dictionary, in the order of the input.
#[derive(Clone, Debug)]
pub struct DictIter<'d>(Children<'d>);

impl<'d> Iterator for DictIter<'d> {
    type Item = (&'d [u8], Node<'d>);

    fn next(&mut self) -> Option<(&'d [u8], Node<'d>)> {
        let key = self.0.next()?.as_bytes()?;
        Some((key, self.0.next()?))
    }
}
