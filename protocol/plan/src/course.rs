//! The course format, `in<R>.txt`: white-space separated, the number of owned files; for each its
//! name, its number of tokens and the tokens; the number of wanted files; their names.
//!
//! ```text
//! 1
//! file1 3
//! 0a1b
//! 2c3d
//! 4e5f
//! 2
//! file2 file3
//! ```

use crate::fault::{error, shown, text};
use crate::{Fault, PlanError};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// The longest token in bytes. A token is one block of one piece.
pub const MAX_TOKEN: usize = dunlin_metainfo::MAX_TOKEN;

/// How many tokens a list makes room for before it has seen any, so that a count alone costs
/// little memory.
const ROOM_AT_FIRST: usize = 1 << 12;

/// What one rank owns and wants, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CourseInput {
    /// The files it owns, no name twice.
    pub owned: Vec<TokenFile>,
    /// The names it wants, each once, in the order of their first mention. It may own some.
    pub wanted: Vec<String>,
}

/// A file whose pieces are tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFile {
    /// Its name: one component, no slash, no control character.
    pub name: String,
    /// Its tokens in order, each of 1 to [`MAX_TOKEN`] printable bytes. None is right: the file is
    /// empty. All share one copy of the input.
    pub tokens: Vec<Bytes>,
}

impl CourseInput {
    /// Writes the input in the course format; [`parse_course`] reads the same back.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        let mut out = format!("{}\n", self.owned.len()).into_bytes();
        for file in &self.owned {
            out.extend_from_slice(format!("{} {}\n", file.name, file.tokens.len()).as_bytes());
            for token in &file.tokens {
                out.extend_from_slice(token);
                out.push(b'\n');
            }
        }
        out.extend_from_slice(format!("{}\n", self.wanted.len()).as_bytes());
        for name in &self.wanted {
            out.extend_from_slice(name.as_bytes());
            out.push(b'\n');
        }
        out
    }
}

/// Reads one `in<R>.txt`. `file` is its name for messages.
///
/// # Errors
/// If the bytes are no text, a count is none or larger than what follows, a name could leave its
/// folder, one file is owned twice, a token is over [`MAX_TOKEN`], or words are missing or too
/// many. The error has the line.
///
/// ```
/// let input = dunlin_plan::parse_course("in1.txt", b"1\nfile1 2\naa\nbb\n1\nfile2")?;
/// assert_eq!(input.owned[0].tokens, ["aa", "bb"]);
/// assert_eq!(input.wanted, ["file2"]);
/// # Ok::<(), dunlin_plan::PlanError>(())
/// ```
pub fn parse_course(file: &str, bytes: &[u8]) -> Result<CourseInput, PlanError> {
    let copy = Bytes::copy_from_slice(bytes);
    let mut words = Words { file, rest: text(file, &copy)?, line: 1 };
    if words.rest.trim_ascii().is_empty() {
        return Err(words.error(Fault::Empty {
            expected: "the number of owned files",
            advice: "write 0 twice for a peer that owns and wants nothing",
        }));
    }
    let owned = parse_owned(&mut words, &copy)?;
    let wanted = parse_wanted(&mut words)?;
    match words.next() {
        Some(word) => Err(words.error(Fault::Trailing { found: shown(word) })),
        None => Ok(CourseInput { owned, wanted }),
    }
}

/// The line, from 1, of token number `piece` (from 0) of the owned file `name` in the bytes of an
/// `in<R>.txt`; without a number the line of the file's name. `None` if there is no such file or
/// token. Reads the bytes again, so that nobody has to remember the lines of all tokens.
///
/// ```
/// let bytes = b"1\nfile1 2\naa\nbb\n0";
/// assert_eq!(dunlin_plan::token_line(bytes, "file1", Some(1)), Some(4));
/// assert_eq!(dunlin_plan::token_line(bytes, "file1", None), Some(2));
/// ```
#[must_use]
pub fn token_line(bytes: &[u8], name: &str, piece: Option<usize>) -> Option<usize> {
    let mut words = Words { file: "", rest: text("", bytes).ok()?, line: 1 };
    let files: usize = words.next()?.parse().ok()?;
    for _ in 0..files {
        let is_it = words.next()? == name;
        if is_it && piece.is_none() {
            return Some(words.line);
        }
        let tokens: usize = words.next()?.parse().ok()?;
        for token in 0..tokens {
            words.next()?;
            if is_it && piece == Some(token) {
                return Some(words.line);
            }
        }
        if is_it {
            return None;
        }
    }
    None
}

fn parse_owned(words: &mut Words<'_>, copy: &Bytes) -> Result<Vec<TokenFile>, PlanError> {
    // A file takes two words at least: its name and its count.
    let count = words.count(|| "the number of owned files".to_owned(), 2)?;
    let mut owned = Vec::new();
    let mut lines = BTreeMap::new();
    for number in 1..=count.value {
        let name = words.name(number, count, "owned")?;
        let line = words.line;
        if let Some(first) = lines.insert(name, line) {
            let name = shown(name);
            return Err(words.error(Fault::OwnedTwice { name, first }));
        }
        let tokens = parse_tokens(words, copy, name)?;
        owned.push(TokenFile { name: name.to_owned(), tokens });
    }
    Ok(owned)
}

fn parse_tokens(words: &mut Words<'_>, copy: &Bytes, name: &str) -> Result<Vec<Bytes>, PlanError> {
    let count = words.count(|| format!("the number of tokens of `{}`", shown(name)), 1)?;
    let mut tokens = Vec::with_capacity(count.value.min(ROOM_AT_FIRST));
    for number in 1..=count.value {
        let Some(word) = words.next() else {
            let of = format!("token {number} of {} of `{}`", count.value, shown(name));
            return Err(words.ends(of, count));
        };
        if word.len() > MAX_TOKEN {
            let length = word.len();
            return Err(words.error(Fault::TokenTooLong { limit: MAX_TOKEN, length }));
        }
        tokens.push(copy.slice_ref(word.as_bytes()));
    }
    Ok(tokens)
}

fn parse_wanted(words: &mut Words<'_>) -> Result<Vec<String>, PlanError> {
    let count = words.count(|| "the number of wanted files".to_owned(), 1)?;
    let mut wanted = Vec::new();
    let mut seen = BTreeSet::new();
    for number in 1..=count.value {
        let name = words.name(number, count, "wanted")?;
        if seen.insert(name) {
            wanted.push(name.to_owned());
        }
    }
    Ok(wanted)
}

/// A count and the line it stands on.
#[derive(Clone, Copy)]
struct Count {
    value: usize,
    line: usize,
}

/// The words of a text and the line of the last one.
struct Words<'a> {
    file: &'a str,
    rest: &'a str,
    line: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
        let start = self.rest.find(|c| !space(c)).unwrap_or(self.rest.len());
        let (gap, rest) = self.rest.split_at(start);
        let (word, rest) = rest.split_at(rest.find(space).unwrap_or(rest.len()));
        self.rest = rest;
        if word.is_empty() {
            return None;
        }
        self.line += gap.bytes().filter(|byte| *byte == b'\n').count();
        Some(word)
    }

    /// The next word as a count of things that take at least `words_each` words. It is compared
    /// with what is left of the file before anything is made room for.
    fn count(
        &mut self,
        expected: impl Fn() -> String,
        words_each: usize,
    ) -> Result<Count, PlanError> {
        let Some(word) = self.next() else {
            let advice = "restore the missing lines, or write 0".to_owned();
            return Err(self.error(Fault::Ends { expected: expected(), advice }));
        };
        if !word.bytes().all(|byte| byte.is_ascii_digit()) {
            let fault = Fault::NotCount { expected: expected(), found: shown(word) };
            return Err(self.error(fault));
        }
        // A word takes a space and a byte.
        let most = self.rest.len() / 2 / words_each;
        match word.parse::<usize>().ok().filter(|value| *value <= most) {
            Some(value) => Ok(Count { value, line: self.line }),
            None => {
                let found = shown(word);
                Err(self.error(Fault::CountTooLarge { expected: expected(), most, found }))
            }
        }
    }

    /// The next word as the name of a file.
    fn name(&mut self, number: usize, count: Count, kind: &str) -> Result<&'a str, PlanError> {
        let Some(word) = self.next() else {
            let of = format!("the name of {kind} file {number} of {}", count.value);
            return Err(self.ends(of, count));
        };
        match crate::name::check_component(word) {
            Ok(()) => Ok(word),
            Err(why) => Err(self.error(Fault::BadName { found: shown(word), why })),
        }
    }

    fn ends(&self, expected: String, count: Count) -> PlanError {
        let advice = format!("correct the count on line {} or add what is missing", count.line);
        self.error(Fault::Ends { expected, advice })
    }

    fn error(&self, fault: Fault) -> PlanError {
        error(self.file, self.line, fault)
    }
}

#[cfg(test)]
mod tests;
