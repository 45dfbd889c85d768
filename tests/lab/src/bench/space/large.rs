//! Large spaces in a daemon of their own: its memory when nothing happens, and how long a search takes.

use std::path::Path;
use std::time::{Duration, Instant};

use super::load::percentile;
use super::people::{CHANNEL, Person, mix, word};
use super::relay::{self, Relay};
use super::socket::Socket;
use super::{archive, within};
use crate::command::run;
use crate::error::{LabError, Result};
use crate::figures::Report;
use crate::lab::Lab;
use crate::overlay::warrend::{Warrend, binary};
use crate::topology::Topology;

/// Searches that are made.
const SEARCHES: u32 = 300;
/// How long a daemon has nothing to do before its memory is read.
const SETTLE: Duration = Duration::from_secs(5);

/// A daemon whose one space has so many messages, just started.
#[derive(Debug)]
pub struct Large {
    relay: Relay,
    lab: Lab,
    /// Seconds that the import took.
    pub import_s: f64,
    /// Seconds from its start until it took connections.
    pub start_s: f64,
}

impl Large {
    /// Makes the space and starts the daemon.
    pub fn make(report: Report, folder: &Path, messages: u64) -> Result<Self> {
        let lab = Lab::new(Topology::line(1))?;
        let daemon: Warrend = relay::prepare(&lab, folder, false, &[])?;
        let file = folder.join("archive.tar");
        report.progress(&format!("signing {messages} messages"));
        archive::write(&file, messages)?;
        report.progress(&format!("importing {messages} messages"));
        let begin = Instant::now();
        let config = daemon.config();
        let words = [
            "space",
            "import",
            &file.to_string_lossy(),
            "--config",
            &config.to_string_lossy(),
        ];
        run(&binary()?.to_string_lossy(), &words)?;
        let import_s = begin.elapsed().as_secs_f64();
        std::fs::remove_file(&file).map_err(LabError::io("removing the archive"))?;
        let begin = Instant::now();
        let relay = Relay::start_space(&lab, daemon)?;
        let start_s = begin.elapsed().as_secs_f64();
        Ok(Self {
            relay,
            lab,
            import_s,
            start_s,
        })
    }

    /// Bytes of memory (PSS) of the whole daemon when nothing happens.
    pub fn idle(&mut self) -> Result<u64> {
        std::thread::sleep(SETTLE);
        self.relay.process()?.pss()
    }

    /// Milliseconds of searches for frequent and rare words, several words, beginnings of words and one person's words, in
    /// order of size.
    pub fn search(&self) -> Result<Vec<f64>> {
        let at = self.relay.at;
        within(&self.lab, async move {
            let mut socket = Socket::open(at).await?;
            let mut times = Vec::new();
            for n in 0..SEARCHES {
                let random = mix(u64::from(n));
                let text = match n % 5 {
                    0 => word(random % 20),
                    1 => word(1000 + random % 15_000),
                    2 => format!("{} {}", word(random % 200), word(random / 7 % 200)),
                    3 => format!("{}*", &word(random % 5000)[..4]),
                    _ => {
                        let author = Person::new(random as u32 % archive::AUTHORS)?;
                        format!("{} from:{} in:{CHANNEL}", word(random % 100), author.hex())
                    }
                };
                let question = format!("[\"REQ\",\"s\",{{\"search\":\"{text}\",\"limit\":20}}]");
                let begin = Instant::now();
                socket.send(question.into()).await?;
                socket.wait_for("[\"EOSE\"").await?;
                times.push(begin.elapsed().as_secs_f64() * 1e3);
            }
            times.sort_by(f64::total_cmp);
            Ok(times)
        })
    }

    /// What a search costs at the median and for one in a hundred, in milliseconds.
    pub fn searched(&self) -> Result<(f64, f64)> {
        let times = self.search()?;
        Ok((percentile(&times, 50), percentile(&times, 99)))
    }
}
