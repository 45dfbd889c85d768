//! The log: one line per message to standard error, with systemd's and procd's level prefixes where they read it. Time
//! stamps are theirs to add. Never a key or a message body: callers keep to that.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::config;

struct Stderr {
    start: Instant,
    terminal: bool,
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        // Libraries talk about their inner life below warnings: that is for whoever asked for everything.
        let ours = record.target().starts_with("warren");
        let wanted =
            ours || record.level() <= Level::Warn || log::max_level() == LevelFilter::Trace;
        if !self.enabled(record.metadata()) || !wanted {
            return;
        }
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warn ",
            Level::Info => "info ",
            Level::Debug => "debug",
            Level::Trace => "trace",
        };
        let mut err = io::stderr().lock();
        // A log that cannot be written must not stop the mesh.
        let _ = if self.terminal {
            let since = self.start.elapsed().as_secs_f32();
            writeln!(err, "{since:9.3} {level} {}", record.args())
        } else {
            writeln!(err, "{level} {}", record.args())
        };
    }

    fn flush(&self) {}
}

/// Logs from `level` on.
pub fn start(level: config::Level) {
    let filter = match level {
        config::Level::Error => LevelFilter::Error,
        config::Level::Warn => LevelFilter::Warn,
        config::Level::Info => LevelFilter::Info,
        config::Level::Debug => LevelFilter::Debug,
        config::Level::Trace => LevelFilter::Trace,
    };
    let logger = Stderr {
        start: Instant::now(),
        terminal: io::stderr().is_terminal(),
    };
    // A second start (tests) keeps the first logger.
    let _ = log::set_boxed_logger(Box::new(logger));
    log::set_max_level(filter);
}
