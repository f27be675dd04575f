//! What can be wrong with a plan. Every message says what was expected, what was found and what to
//! do, and every error names the file and the line.

use crate::PatternError;
use dunlin_base::Rank;
use thiserror::Error;

/// A fault in one file of a plan, with its place. The author of that file is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}:{line}: {fault}")]
pub struct PlanError {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there; in a box, so that a result stays small.
    pub fault: Box<Fault>,
}

/// What is wrong in a file of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file is no text.
    #[error("expected text (UTF-8), found {found}; check that this is the right file")]
    NotText {
        /// The first byte or character that is no text.
        found: String,
    },
    /// Nothing but white space and comments.
    #[error("expected {expected}, found an empty file; {advice}")]
    Empty {
        /// What should stand there.
        expected: &'static str,
        /// What to write.
        advice: &'static str,
    },
    /// The file ends too early.
    #[error("expected {expected}, found the end of the file; {advice}")]
    Ends {
        /// What should stand there.
        expected: String,
        /// What to correct, and where.
        advice: String,
    },
    /// A word where a count should be.
    #[error("expected {expected}, found `{found}`; write a whole number, 0 or more")]
    NotCount {
        /// What the count counts.
        expected: String,
        /// The word, cut to a readable length.
        found: String,
    },
    /// A count that the rest of the file cannot hold.
    #[error(
        "expected {expected}, at most {most} by the length of the file, found {found}; \
         correct the count or restore the missing lines"
    )]
    CountTooLarge {
        /// What the count counts.
        expected: String,
        /// The most that can follow.
        most: usize,
        /// The digits, cut to a readable length.
        found: String,
    },
    /// A token over the limit.
    #[error("expected tokens of at most {limit} bytes, found one of {length}; split it")]
    TokenTooLong {
        /// The limit in bytes.
        limit: usize,
        /// The length found, in bytes.
        length: usize,
    },
    /// A name that could leave its folder or that no file may have.
    #[error("expected the name of a file, found `{found}`, {why}; give the file another name")]
    BadName {
        /// The name, cut to a readable length.
        found: String,
        /// What is wrong with it.
        why: String,
    },
    /// One owner names a file twice.
    #[error(
        "expected every owned file once, found `{name}` again (first on line {first}); \
         remove one of the two"
    )]
    OwnedTwice {
        /// The name.
        name: String,
        /// The line of the first, from 1.
        first: usize,
    },
    /// Words after the last wanted file.
    #[error(
        "expected the end of the file after the last wanted file, found `{found}`; \
         correct the counts or remove what follows"
    )]
    Trailing {
        /// The first word too many.
        found: String,
    },
    /// No TOML at all.
    #[error("expected TOML, found a fault in its grammar ({message}); correct this line")]
    Syntax {
        /// What the TOML parser says.
        message: String,
    },
    /// A key or table that no plan has.
    #[error("expected {known}, found `{found}`; correct or remove it")]
    UnknownKey {
        /// The keys that may stand here.
        known: &'static str,
        /// The key found.
        found: String,
    },
    /// A value of the wrong type.
    #[error("expected {expected} for `{key}`, found {found}; {advice}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// The type it should have.
        expected: &'static str,
        /// The type it has.
        found: &'static str,
        /// An example of the right form.
        advice: &'static str,
    },
    /// A key that must be there is not.
    #[error("expected `{key}` in this {table}, found none; add {advice}")]
    Missing {
        /// The table.
        table: &'static str,
        /// The key that is missing.
        key: &'static str,
        /// An example of the right form.
        advice: &'static str,
    },
    /// A value of the right type that says something impossible.
    #[error("expected {expected} for `{key}`, found `{found}`{why}; {advice}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What should stand there.
        expected: &'static str,
        /// The value, cut to a readable length.
        found: String,
        /// What is wrong with it: empty, or a clause that begins with a comma.
        why: String,
        /// An example of the right form.
        advice: &'static str,
    },
    /// A name or glob that is none.
    #[error("expected a relative name or glob, found `{found}`: {error}")]
    BadPattern {
        /// The pattern, cut to a readable length.
        found: String,
        /// What is wrong with it.
        error: PatternError,
    },
    /// A node whose ranks and patterns multiply beyond reason.
    #[error("expected at most {most} patterns times ranks in a [[node]], found more; use globs")]
    TooManyPatterns {
        /// The limit.
        most: usize,
    },
    /// Ranks that the job does not have.
    #[error(
        "expected ranks of this job, 0 to {highest}, found {found}; start more ranks, or correct \
         the list"
    )]
    NoSuchRank {
        /// The ranks, as in `ranks 7, 8`.
        found: String,
        /// The job's highest rank.
        highest: Rank,
    },
    /// Hosts on which no rank runs.
    #[error(
        "expected hosts of this job, found {found}, where no rank runs; start one there, or \
         correct the list"
    )]
    NoSuchHost {
        /// The hosts, as in `hosts n1, n2`.
        found: String,
    },
    /// A pin of a name that nobody wants.
    #[error(
        "expected a pin of a wanted file, found `{found}`, which no [[node]] wants; correct its \
         path, or add it to a `want`"
    )]
    IdlePin {
        /// The name.
        found: String,
    },
    /// Two nodes for one rank.
    #[error(
        "expected one [[node]] for every rank, found rank {rank} (host `{host}`) in this one and in \
         that of line {first}; take it out of one"
    )]
    CoveredTwice {
        /// The rank.
        rank: Rank,
        /// Its host.
        host: String,
        /// The line of the other node.
        first: usize,
    },
    /// Two ranks of one host with folders that overlap.
    #[error(
        "expected separate places, found `{root}` of rank {rank} to overlap with `{other_root}` of \
         rank {other} (line {other_line}) on the same host; give each its own, or the same folder \
         and the same wants"
    )]
    Overlap {
        /// The folder that is refused.
        root: String,
        /// Whose it is.
        rank: Rank,
        /// The other folder.
        other_root: String,
        /// Whose that is.
        other: Rank,
        /// The line of that rank's node.
        other_line: usize,
    },
    /// More pins than anybody writes.
    #[error("expected at most {most} pins, found more; pin what matters most")]
    TooManyPins {
        /// The limit.
        most: usize,
    },
    /// A rank, host or path stands twice in the plan.
    #[error("expected every {what} once, found {found} again (first on line {first}); remove one")]
    Twice {
        /// `rank`, `host`, `path` or `pinned path`.
        what: &'static str,
        /// The one that stands twice.
        found: String,
        /// The line of the first, from 1.
        first: usize,
    },
    /// A folder or file inside another one that is somebody else's.
    #[error(
        "expected separate places, found `{inner}` of {inner_of} inside `{outer}` of \
         {outer_of}; give each its own, like `work/{{rank}}`"
    )]
    Nested {
        /// The path that lies inside.
        inner: String,
        /// Whose it is.
        inner_of: String,
        /// The path around it.
        outer: String,
        /// Whose that is.
        outer_of: String,
    },
    /// The ranks are not 1, 2, … without a gap.
    #[error(
        "expected ranks from 1 without a gap, found rank {next} and no rank {missing}; \
         add or renumber"
    )]
    Gap {
        /// The lowest rank that is missing.
        missing: Rank,
        /// The lowest rank above it.
        next: Rank,
    },
    /// A node with hosts where only ranks make sense.
    #[error(
        "expected `ranks` in this [[node]], found `hosts`, which are for `dunlin place`; give \
         ranks, like ranks = \"1-4\""
    )]
    HostsOnly,
}

/// How many characters of a wrong word a message shows: enough to recognise it on one line.
const SHOWN: usize = 60;

/// How many characters of the TOML parser's own words a message repeats.
const REPEATED: usize = 160;

/// Cuts a wrong word to a length that a message can carry, control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    cut(text, SHOWN)
}

/// The same for what the TOML parser says.
pub(crate) fn repeated(text: &str) -> String {
    cut(text, REPEATED)
}

fn cut(text: &str, most: usize) -> String {
    let mut out: String = text.chars().take(most).flat_map(char::escape_debug).collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

/// Line numbers of one file, for errors.
pub(crate) struct Place<'a> {
    file: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Place<'a> {
    pub(crate) fn new(file: &'a str, text: &str) -> Place<'a> {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = ends.map(|(at, _)| at + 1).collect();
        Place { file, line_starts }
    }

    /// The line of a byte offset, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset) + 1
    }

    pub(crate) fn error(&self, offset: usize, fault: Fault) -> PlanError {
        error(self.file, self.line(offset), fault)
    }
}

pub(crate) fn error(file: &str, line: usize, fault: Fault) -> PlanError {
    PlanError { file: file.to_owned(), line, fault: Box::new(fault) }
}

/// Reads bytes as text: UTF-8 (a byte order mark is skipped) without control characters other
/// than white space.
///
/// # Errors
/// [`Fault::NotText`] at the line of the first byte that is none.
pub(crate) fn text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, PlanError> {
    let line = |offset: usize| {
        bytes.iter().take(offset).filter(|byte| **byte == b'\n').count().saturating_add(1)
    };
    let text = std::str::from_utf8(bytes).map_err(|wrong| {
        let offset = wrong.valid_up_to();
        let byte = bytes.get(offset).copied().unwrap_or(0);
        error(file, line(offset), Fault::NotText { found: format!("byte 0x{byte:02x}") })
    })?;
    let strange = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0b' | '\x0c');
    if let Some((offset, c)) = text.char_indices().find(|(_, c)| strange(*c)) {
        let found = format!("control character {:#04x}", u32::from(c));
        return Err(error(file, line(offset), Fault::NotText { found }));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
