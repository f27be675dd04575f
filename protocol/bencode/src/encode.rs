//! BEP 3, "bencoding": the writer of the one valid encoding.

use thiserror::Error;

/// What a caller of [`Writer`] did wrong. A fault of the program, never of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// Keys must come in ascending order of their bytes, each once.
    #[error("key `{0}` does not come after the key before it: write keys in order, each once")]
    KeyOrder(String),
    /// A dictionary got a value or its end where a key, or a value, had to come.
    #[error("a dictionary takes a key and a value in turn")]
    KeyAndValue,
    /// A key outside of a dictionary.
    #[error("key `{0}` is in no dictionary")]
    KeyOutside(String),
    /// An end without a begin.
    #[error("nothing is open that could end")]
    NothingOpen,
    /// A document is one complete value.
    #[error("a document is one complete value, found {values} and {open} still open")]
    NotOneValue {
        /// Complete values written.
        values: usize,
        /// Lists and dictionaries without their end.
        open: usize,
    },
}

struct Level {
    dict: bool,
    key: Option<Vec<u8>>,
    awaits_value: bool,
}

/// Writes one value piece by piece and checks that the result is canonical. The first mistake is
/// kept and returned by [`Writer::finish`].
#[derive(Default)]
pub struct Writer {
    out: Vec<u8>,
    open: Vec<Level>,
    values: usize,
    mistake: Option<WriteError>,
}

impl Writer {
    /// A writer of an empty document.
    #[must_use]
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Writes an integer of any common type.
    pub fn integer(&mut self, value: impl Into<i128>) -> &mut Writer {
        self.value_begins();
        self.out.extend_from_slice(format!("i{}e", value.into()).as_bytes());
        self.value_ends()
    }

    /// Writes a byte string.
    pub fn bytes(&mut self, bytes: impl AsRef<[u8]>) -> &mut Writer {
        self.value_begins();
        self.string(bytes.as_ref());
        self.value_ends()
    }

    /// Writes a value that is encoded already, as it stands. That it is one value, and canonical,
    /// is the caller's promise.
    pub fn raw(&mut self, encoded: &[u8]) -> &mut Writer {
        self.value_begins();
        self.out.extend_from_slice(encoded);
        self.value_ends()
    }

    /// Begins a list.
    pub fn list(&mut self) -> &mut Writer {
        self.begin(false)
    }

    /// Begins a dictionary.
    pub fn dict(&mut self) -> &mut Writer {
        self.begin(true)
    }

    /// Writes a key of the open dictionary; its value comes next.
    pub fn key(&mut self, key: impl AsRef<[u8]>) -> &mut Writer {
        let key = key.as_ref();
        let name = || String::from_utf8_lossy(key).into_owned();
        let mistake = match self.open.last_mut() {
            Some(level) if level.dict && !level.awaits_value => {
                level.awaits_value = true;
                let before = level.key.replace(key.to_vec());
                before
                    .is_some_and(|before| before.as_slice() >= key)
                    .then(|| WriteError::KeyOrder(name()))
            }
            Some(level) if level.dict => Some(WriteError::KeyAndValue),
            _ => Some(WriteError::KeyOutside(name())),
        };
        self.note(mistake);
        self.string(key);
        self
    }

    /// Ends the list or dictionary that was begun last.
    pub fn end(&mut self) -> &mut Writer {
        let mistake = match self.open.pop() {
            None => Some(WriteError::NothingOpen),
            Some(level) => level.awaits_value.then_some(WriteError::KeyAndValue),
        };
        self.note(mistake);
        self.out.push(b'e');
        self.value_ends()
    }

    /// The bytes of the document.
    ///
    /// # Errors
    /// The first mistake of the caller; or if there is not exactly one complete value.
    pub fn finish(self) -> Result<Vec<u8>, WriteError> {
        match self.mistake {
            Some(mistake) => Err(mistake),
            None if self.values != 1 || !self.open.is_empty() => {
                Err(WriteError::NotOneValue { values: self.values, open: self.open.len() })
            }
            None => Ok(self.out),
        }
    }

    fn begin(&mut self, dict: bool) -> &mut Writer {
        self.value_begins();
        self.out.push(if dict { b'd' } else { b'l' });
        self.open.push(Level { dict, key: None, awaits_value: false });
        self
    }

    fn string(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
        self.out.extend_from_slice(bytes);
    }

    fn value_begins(&mut self) {
        let misplaced = self.open.last().is_some_and(|level| level.dict && !level.awaits_value);
        self.note(misplaced.then_some(WriteError::KeyAndValue));
    }

    fn value_ends(&mut self) -> &mut Writer {
        match self.open.last_mut() {
            Some(level) => level.awaits_value = false,
            None => self.values += 1,
        }
        self
    }

    fn note(&mut self, mistake: Option<WriteError>) {
        if self.mistake.is_none() {
            self.mistake = mistake;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_the_spec_shows() {
        let mut writer = Writer::new();
        writer.dict().key("cow").bytes("moo").key("list").list().integer(-3).integer(u64::MAX);
        writer.dict().end().end().key("spam").raw(b"le").end();
        assert_eq!(
            writer.finish().as_deref(),
            Ok(&b"d3:cow3:moo4:listli-3ei18446744073709551615edee4:spamlee"[..])
        );
    }

    #[test]
    fn mistakes_are_reported_and_the_first_counts() {
        type Step = fn(&mut Writer);
        let cases: &[(Step, &str)] = &[
            (|w| _ = w.dict().key("b").integer(1).key("a").integer(1).end(), "`a` does not come"),
            (|w| _ = w.dict().key("a").integer(1).key("a").integer(1).end(), "`a` does not come"),
            (|w| _ = w.dict().integer(1).end(), "a key and a value in turn"),
            (|w| _ = w.dict().key("a").end(), "a key and a value in turn"),
            (|w| _ = w.dict().key("a").key("b"), "a key and a value in turn"),
            (|w| _ = w.list().key("a").end(), "in no dictionary"),
            (|w| _ = w.end(), "nothing is open"),
            (|w| _ = w.list(), "found 0 and 1 still open"),
            (|w| _ = w.integer(1).integer(2), "found 2 and 0"),
            (|_| {}, "found 0 and 0"),
        ];
        for (steps, expected) in cases {
            let mut writer = Writer::new();
            steps(&mut writer);
            let text = writer.finish().map_err(|error| error.to_string());
            assert!(text.as_ref().is_err_and(|text| text.contains(expected)), "{text:?}");
        }
    }
}
