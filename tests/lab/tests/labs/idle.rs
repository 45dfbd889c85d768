//! What a neighbourhood costs when nothing happens. Bounds are wide: `scripts/bench router` measures. Needs root.

use std::time::{Duration, Instant};

use warren_lab::overlay::Program;
use warren_lab::ping::Pinger;
use warren_lab::{Lab, Result, Topology};

#[test]
fn an_idle_line_of_three_is_no_busy_loop_and_fits_a_router() -> Result<()> {
    let lab = Lab::new(Topology::line(3))?;
    let mut running = Program::Warrend.start(&lab, &[])?;
    Pinger::new(&lab, &running.addresses)?.reach_all(Instant::now(), Duration::from_secs(60))?;
    const WATCH: Duration = Duration::from_secs(10);
    let before = running.cpu()?.total();
    std::thread::sleep(WATCH);
    let share = (running.cpu()?.total() - before) / WATCH.as_secs_f64() / 3.0;
    running.check()?;
    assert!(
        share < 0.02,
        "an idle daemon takes {:.1} % of a core",
        share * 100.0
    );
    for daemon in &running.daemons {
        let mib = daemon.pss()? >> 20;
        assert!(mib < 16, "an idle daemon takes {mib} MiB");
    }
    Ok(())
}
