//! What can go wrong in a lab: every error says what happened, to what, and what to do. It never holds keys or messages.

use std::time::Duration;

/// Everything that can go wrong in a lab.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, and to what.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A program ended with an error.
    #[error("`{line}` failed ({status}): {output}")]
    Command {
        /// The command line.
        line: String,
        /// Its exit status.
        status: String,
        /// What it said, shortened.
        output: String,
    },
    /// A program that the lab needs is not there.
    #[error("{program} is not installed; install the Debian package `{package}`")]
    Missing {
        /// The program.
        program: String,
        /// The package that has it.
        package: &'static str,
    },
    /// Network namespaces need root.
    #[error("labs of network namespaces need root: run this as root or with sudo")]
    NotRoot,
    /// Something awaited did not happen in time.
    #[error("waited {after:?} in vain for {what}")]
    Timeout {
        /// What was awaited.
        what: String,
        /// How long.
        after: Duration,
    },
    /// A program answered something unexpected.
    #[error("{what} answered something unexpected: {answer}")]
    Answer {
        /// Who answered.
        what: String,
        /// The answer, shortened.
        answer: String,
    },
    /// A daemon ended by itself.
    #[error("{name} ended by itself ({status}); the end of its log:\n{tail}")]
    Ended {
        /// Whose daemon.
        name: String,
        /// Exit status.
        status: String,
        /// The last lines of the log.
        tail: String,
    },
    /// A node or link that this lab does not have.
    #[error("this lab has no {0}")]
    Unknown(String),
    /// No neighbourhood is running.
    #[error("no neighbourhood is running: start one with scripts/run in another terminal")]
    NoNeighbourhood,
}

impl LabError {
    /// Wraps an error of the operating system together with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// An answer that does not fit, shortened to 300 characters.
    pub fn answer(what: impl Into<String>, answer: &str) -> Self {
        Self::Answer {
            what: what.into(),
            answer: answer.chars().take(300).collect(),
        }
    }
}

/// The result of everything a lab does.
pub type Result<T> = std::result::Result<T, LabError>;
