//! The two ways out: data on stdout, everything else on stderr. Neither ever panics: a reader that
//! closes stdout has seen enough, and a closed stderr has nobody to tell.

use crate::exit::Failure;
use crate::launch;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};

/// Writes data to stdout through a buffer.
///
/// # Errors
/// If stdout takes no more for another reason than that its reader went away.
pub(crate) fn data(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    let result = write(&mut stdout).and_then(|()| stdout.flush());
    // What could not be flushed must not be tried again when the buffer is dropped.
    let _ = stdout.into_parts();
    quiet_end(result)
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
pub(crate) fn document(value: &serde_json::Value) -> Result<(), Failure> {
    data(|stdout| writeln!(stdout, "{value:#}"))
}

/// Says something on stderr.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says on stderr what ended the program.
pub(crate) fn error(text: &str) {
    say(&format!("error: {text}"));
}

/// Whether stdout may have colours: a terminal, and `NO_COLOR` unset or empty.
pub(crate) fn colours() -> bool {
    is_screen(&io::stdout()) && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether a person looks at what is written there. Some launchers give their processes terminals of
/// their own, whose other end may be anything.
pub(crate) fn is_screen(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && launch::launcher().is_none()
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
    }
}
