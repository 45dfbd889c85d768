//! `scripts/bench home`: what a login costs the box. The passphrase's price is what the home chose for this machine.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::post;
use crate::error::{LabError, Result};
use crate::figures::{Figure, Report, median};
use crate::lab::Lab;
use crate::namespace;
use crate::overlay::warrend::{Options, Warrend};
use crate::topology::Topology;

/// Where the page is, in the lab's namespace.
const PAGE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8480);
/// Logins that are timed. A home takes ten at once from one source.
const LOGINS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(30);

/// All of `scripts/bench home`. `data`: a folder on the disk that is measured.
pub fn run(report: Report, data: &Path) -> Result<()> {
    let data = super::space::Data::make(data)?;
    let lab = Lab::new(Topology::line(1))?;
    let options = Options {
        web: vec![PAGE.to_string()],
        ..Options::default()
    };
    let mut daemon = Warrend::prepare_in(
        &data.folder("home"),
        "A",
        Some(lab.namespace(0)),
        &[],
        &options,
    )?;
    daemon.start()?;
    daemon.wait_for_address()?;
    let login = r#"{"name":"Ann","passphrase":"a garden of beans","device":"bench"}"#;
    report.progress("making an account");
    call(&lab, "/api/1/accounts", login)?;
    report.progress("logging in");
    let process = daemon.process()?;
    process.forget_peak()?;
    let (before, _) = process.resident()?;
    let mut times = Vec::new();
    for _ in 0..LOGINS {
        let begin = Instant::now();
        call(&lab, "/api/1/session", login)?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let (_, peak) = process.resident()?;
    #[allow(clippy::cast_precision_loss)]
    let grown = peak.saturating_sub(before) as f64 / f64::from(1 << 20);
    report.figure(&Figure::alone("home.login_ms", median(&times), "ms"));
    report.figure(&Figure::alone("home.login_mib", grown, "MiB"));
    process.stop(PATIENCE).map(drop)
}

/// One call of the home's interface; an error unless it succeeds.
fn call(lab: &Lab, path: &str, body: &str) -> Result<()> {
    namespace::within(&lab.namespace(0), || {
        let trouble = || LabError::io(format!("calling {path}"));
        let mut stream = TcpStream::connect_timeout(&PAGE, PATIENCE).map_err(trouble())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(trouble())?;
        post(&mut stream, path, body)
    })
}
