//! The two ways out: data on stdout, everything else on stderr. Neither ever panics: a reader that
//! closes stdout has seen enough, and a closed stderr has no reader.
//!
//! Nothing else in this program writes to them (tidy checks it, `logging` and `progress` apart,
//! which write through this module), and whatever goes out for people is cleaned here: torrents,
//! trackers, peers, other hosts and file names give texts that could move the cursor or turn a line
//! around. One call is one line, so that a line break in a text from outside cannot begin a line
//! that looks like ours.

use crate::exit::Failure;
use dunlin_base::{is_disguise, plain, plain_json};
use serde::Serialize;
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// A line of a [`Lines`] is cut after so many bytes, so that what has none cannot fill the memory.
const MAX_LINE: usize = 1 << 20;

/// Whether a launcher started this process.
static LAUNCHED: AtomicBool = AtomicBool::new(false);

/// From now on no person is taken to look at the terminals of this process: some launchers give
/// their processes terminals of their own, whose other end may be anything.
pub(crate) fn set_launched() {
    LAUNCHED.store(true, Ordering::Relaxed);
}

/// Writes data to stdout through a buffer.
///
/// # Errors
/// If stdout takes no more for another reason than that its reader went away.
pub(crate) fn data(write: impl FnOnce(&mut Page<'_>) -> io::Result<()>) -> Result<(), Failure> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    let mut page = Page { to: &mut stdout, colours: colours() };
    let result = write(&mut page).and_then(|()| stdout.flush());
    // What could not be flushed must not be tried again when the buffer is dropped.
    let _ = stdout.into_parts();
    quiet_end(result)
}

/// How a line is shown on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// As any other.
    Plain,
    /// The head of a table.
    Bold,
    /// Something went wrong.
    Red,
}

/// Where data goes.
pub(crate) struct Page<'a> {
    to: &'a mut dyn Write,
    colours: bool,
}

impl Page<'_> {
    /// A page without colours.
    #[cfg(test)]
    pub(crate) fn on(to: &mut dyn Write) -> Page<'_> {
        Page { to, colours: false }
    }

    /// Writes a text as one line. A line break or anything else in it that would do something to a
    /// terminal is shown instead ([`plain`]).
    ///
    /// # Errors
    /// If the stream takes no more.
    pub(crate) fn line(&mut self, text: impl Display) -> io::Result<()> {
        self.painted(Paint::Plain, text)
    }

    /// [`Page::line`] in a colour, where there are colours.
    ///
    /// # Errors
    /// If the stream takes no more.
    pub(crate) fn painted(&mut self, paint: Paint, text: impl Display) -> io::Result<()> {
        let text = text.to_string();
        let (on, off) = match paint {
            Paint::Bold if self.colours => ("\x1b[1m", "\x1b[0m"),
            Paint::Red if self.colours => ("\x1b[31m", "\x1b[0m"),
            _ => ("", ""),
        };
        writeln!(self.to, "{on}{}{off}", plain(&text))
    }

    /// Writes a JSON document and a newline.
    ///
    /// # Errors
    /// If the stream takes no more.
    pub(crate) fn json(&mut self, document: &str) -> io::Result<()> {
        writeln!(self.to, "{}", plain_json(document))
    }

    /// Writes bytes as they are: a file that is read by programs. Who calls it has made sure that
    /// no text from outside is in it, or that stdout is no terminal ([`is_terminal`]).
    ///
    /// # Errors
    /// If the stream takes no more.
    pub(crate) fn file(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)
    }

    /// A writer for what writes lines by itself.
    pub(crate) fn lines(&mut self) -> Lines<'_> {
        Lines { page: Page { to: &mut *self.to, colours: false }, line: Vec::new() }
    }
}

/// Takes bytes and writes them as lines of a [`Page`]. Only `\n` ends a line.
pub(crate) struct Lines<'a> {
    page: Page<'a>,
    line: Vec<u8>,
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") || self.line.len() >= MAX_LINE {
                self.end_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        self.page.to.flush()
    }
}

impl Lines<'_> {
    fn end_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        self.page.line(String::from_utf8_lossy(line))
    }
}

/// Turns the result of writing to stdout into ours: a reader that went away is no failure.
///
/// # Errors
/// If the writing failed for any other reason.
pub(crate) fn quiet_end(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::disk(format!(
            "cannot write to stdout: {error}; check where the output is sent to"
        ))),
        _ => Ok(()),
    }
}

/// Writes one JSON document and a newline to stdout.
///
/// # Errors
/// As [`data`].
pub(crate) fn document(document: &impl Serialize) -> Result<(), Failure> {
    // As a value first: its keys are in order.
    let value = serde_json::to_value(document).map_err(Failure::environment)?;
    data(|page| page.json(&format!("{value:#}")))
}

/// Writes one line on stderr.
pub(crate) fn notice(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", plain(text));
}

/// Writes on stderr what ended the program.
pub(crate) fn error(text: &str) {
    notice(&format!("error: {text}"));
}

/// From now on a panic, which is a defect and may quote what came from outside, is reported through
/// [`notice`], too.
pub(crate) fn clean_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        notice(&panicked(thread.name().unwrap_or("?"), &place, panic.payload()));
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            trace.to_string().lines().for_each(notice);
        }
    }));
}

fn panicked(thread: &str, place: &str, payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no word of why");
    format!("error: thread {thread} panicked at {place}, a defect of the program: {text}")
}

/// Writes help, or what is wrong with a command line whose words are clean, in the layout and
/// colours of the parser.
///
/// # Errors
/// If the stream takes no more.
pub(crate) fn usage(error: &clap::Error) -> io::Result<()> {
    error.print()
}

/// Where the log goes: each write is one event, which becomes one line.
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        notice(&String::from_utf8_lossy(line));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether stdout may have colours: a terminal, and `NO_COLOR` unset or empty.
fn colours() -> bool {
    is_screen(&io::stdout()) && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether a person reads stderr as it comes.
pub(crate) fn stderr_is_screen() -> bool {
    is_screen(&io::stderr())
}

/// Whether stdout is a terminal of any kind.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether a person looks at what is written there.
fn is_screen(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && !LAUNCHED.load(Ordering::Relaxed)
}

/// Writes a path so that a shell reads it as one word.
pub(crate) fn shell_word(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | '@');
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Writes a path for people, so that a shell they paste it into reads it as one word. What cannot
/// be shown is written in the form that bash, zsh and ksh read.
pub(crate) fn shown_word(path: &std::path::Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let shown = std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(is_disguise));
    if shown {
        return shell_word(path);
    }
    let mut word = "$'".to_owned();
    for part in bytes.utf8_chunks() {
        for c in part.valid().chars() {
            match c {
                '\'' | '\\' => word.extend(['\\', c]),
                c if is_disguise(c) => {
                    let mut bytes = [0; 4];
                    c.encode_utf8(&mut bytes).bytes().for_each(|byte| octal(byte, &mut word));
                }
                c => word.push(c),
            }
        }
        part.invalid().iter().for_each(|byte| octal(*byte, &mut word));
    }
    word + "'"
}

fn octal(byte: u8, word: &mut String) {
    word.push_str(&format!("\\{byte:03o}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        assert_eq!(quiet_end(Err(ErrorKind::BrokenPipe.into())), Ok(()));
        assert!(quiet_end(Err(ErrorKind::StorageFull.into())).is_err());
    }

    #[test]
    fn paths_are_one_word_to_a_shell() {
        assert_eq!(shell_word(Path::new("a/b-1.bin")), "a/b-1.bin");
        assert_eq!(shell_word(Path::new("two words")), "'two words'");
        assert_eq!(shell_word(Path::new("it's")), r"'it'\''s'");
        assert_eq!(shown_word(Path::new("it's")), r"'it'\''s'");
        assert_eq!(shown_word(Path::new("a\n'\\\u{202e}é")), r"$'a\012\'\\\342\200\256é'");
    }

    #[test]
    fn a_panic_is_one_line() {
        let said = panicked("main", "src/x.rs:1:2", &"no `a\nb\u{202e}`".to_owned());
        let expected = "thread main panicked at src/x.rs:1:2, a defect of the program: no `a\\nb";
        assert!(plain(&said).contains(expected), "{said}");
        assert!(panicked("r1", "", &"text").ends_with(": text"));
        assert!(panicked("r1", "", &7).ends_with("no word of why"));
    }

    #[test]
    fn a_page_has_our_line_breaks_and_colours_alone() {
        let mut bytes = Vec::new();
        let mut page = Page { to: &mut bytes, colours: true };
        page.painted(Paint::Red, "a\nerror: b\x1b[2J").unwrap();
        page.json("{\"a\":\"\u{202e}\"}").unwrap();
        page.lines().write_all(b"one\ntw\x1bo\n\xFF").unwrap();
        let mut lines = page.lines();
        lines.write_all(b"cut").unwrap();
        lines.flush().unwrap();
        let expected = concat!(
            "\x1b[31ma\\nerror: b\\u{1b}[2J\x1b[0m\n",
            "{\"a\":\"\\u202e\"}\n",
            "one\ntw\\u{1b}o\n",
            "cut\n"
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }
}
