//! What a home is told by the daemon: where its files are, what it is called, under which names it is opened.

use std::path::PathBuf;
use std::sync::Arc;

/// Where the time comes from: seconds since 1970 (UTC).
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The clock of the operating system.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    })
}

/// One home.
#[derive(Debug, Clone)]
pub struct HomeConfig {
    /// The directory that holds the accounts. Made when it is missing.
    pub dir: PathBuf,
    /// The name people see.
    pub name: String,
    /// Host names under which a browser may open the home, beside `localhost`, `*.localhost` and addresses.
    pub host_names: Vec<String>,
}
