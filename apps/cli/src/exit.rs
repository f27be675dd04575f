//! How a run ends: the exit codes, and failures that know theirs.

use std::process::ExitCode;

/// The exit codes of the program. Scripts rely on the numbers; they never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Ok,
    /// Some files or peers failed; the report has their names and reasons.
    Failed,
    /// The command line is wrong.
    Usage,
    /// The configuration or the environment is wrong.
    Environment,
    /// The plan or another input is wrong, or something stands in the way of an output.
    Input,
    /// A disk or a path on it.
    Disk,
    /// Something is not what it should be, and the command was not to change it.
    Mismatch,
    /// The tracker, or the network below it, is gone.
    Network,
    /// Nobody could give what it wanted in time.
    Stalled,
    /// A person stopped it; the same command goes on.
    Interrupted,
    /// Interrupted twice: stopped at once.
    InterruptedTwice,
    /// A code that the world decided on and this list has no name for.
    Other(u8),
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Environment => 3,
            Exit::Input => 4,
            Exit::Disk => 5,
            Exit::Mismatch => 6,
            Exit::Network => 7,
            Exit::Stalled => 8,
            Exit::Interrupted => 9,
            Exit::InterruptedTwice => 130,
            Exit::Other(code) => code,
        }
    }

    /// The exit of a number, as the report of a run gives it.
    pub(crate) fn of_code(code: u8) -> Exit {
        const NAMED: [Exit; 11] = [
            Exit::Ok,
            Exit::Failed,
            Exit::Usage,
            Exit::Environment,
            Exit::Input,
            Exit::Disk,
            Exit::Mismatch,
            Exit::Network,
            Exit::Stalled,
            Exit::Interrupted,
            Exit::InterruptedTwice,
        ];
        NAMED.into_iter().find(|exit| exit.code() == code).unwrap_or(Exit::Other(code))
    }

    /// The word for `error.kind` in a document of `--json`.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Exit::Ok => "none",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Environment => "environment",
            Exit::Input => "input",
            Exit::Disk => "disk",
            Exit::Mismatch => "mismatch",
            Exit::Network => "network",
            Exit::Stalled => "stalled",
            Exit::Interrupted | Exit::InterruptedTwice => "interrupted",
            Exit::Other(_) => "other",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// A failure that ends the program: what happened, where, what to do, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// How the program ends.
    pub(crate) exit: Exit,
    /// Full sentences for people.
    pub(crate) message: String,
}

impl Failure {
    /// A wrong command line.
    pub(crate) fn usage(message: impl ToString) -> Failure {
        Failure { exit: Exit::Usage, message: message.to_string() }
    }

    /// A wrong environment.
    pub(crate) fn environment(message: impl ToString) -> Failure {
        Failure { exit: Exit::Environment, message: message.to_string() }
    }

    /// A wrong input.
    pub(crate) fn input(message: impl ToString) -> Failure {
        Failure { exit: Exit::Input, message: message.to_string() }
    }

    /// A disk that refuses.
    pub(crate) fn disk(message: impl ToString) -> Failure {
        Failure { exit: Exit::Disk, message: message.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_back() {
        for code in [0, 1, 2, 3, 4, 5, 8, 9, 130, 6, 7] {
            assert_eq!(Exit::of_code(code).code(), code);
        }
    }
}
