//! Neighbourhoods of real daemons in network namespaces: who reaches whom, before, while and after something breaks. Needs
//! root; run with one thread, because every scenario has the machine's two cores for itself.

use std::time::{Duration, Instant};

use warren_lab::lab::Cut;
use warren_lab::overlay::Warrend;
use warren_lab::overlay::warrend::{Options, start_with};
use warren_lab::ping::Pinger;
use warren_lab::{Lab, Result, Topology, outage};

/// How long anything may take on a slow machine. Scenarios end as soon as what they wait for is there.
const PATIENCE: Duration = Duration::from_secs(60);

/// A lab with a daemon on every node.
struct Street {
    lab: Lab,
    daemons: Vec<Warrend>,
    pinger: Pinger,
}

impl Street {
    fn start(topology: Topology, options: impl Fn(usize) -> Options) -> Result<Self> {
        let lab = Lab::new(topology)?;
        let (daemons, addresses) = start_with(&lab, options)?;
        let pinger = Pinger::new(&lab, &addresses)?;
        Ok(Self {
            lab,
            daemons,
            pinger,
        })
    }

    fn plain(topology: Topology) -> Result<Self> {
        Self::start(topology, |_| Options::default())
    }

    fn everybody_reaches_everybody(&self) -> Result<Duration> {
        self.pinger
            .reach_all(Instant::now(), PATIENCE)
            .inspect_err(|_| self.tell())
    }

    fn reaches(&self, from: usize, to: usize) -> Result<Duration> {
        self.pinger
            .reach(from, to, PATIENCE)
            .inspect_err(|_| self.tell())
    }

    /// Prints what each daemon knows, for whoever reads of a failure.
    fn tell(&self) {
        for daemon in &self.daemons {
            for what in ["status", "neighbours", "routes"] {
                println!("{} {what}: {:?}", daemon.name, daemon.ask(what));
            }
        }
    }

    fn nobody_has_ended(&mut self) -> Result<()> {
        self.daemons
            .iter_mut()
            .try_for_each(|daemon| daemon.process()?.check())
    }
}

/// Waits until no ping passes between two nodes.
fn wait_until_unreachable(street: &Street, from: usize, to: usize) -> Result<()> {
    let begin = Instant::now();
    while !street.pinger.is_silent(from, to, 5)? {
        assert!(begin.elapsed() < PATIENCE, "traffic still passes");
    }
    Ok(())
}

#[test]
fn everybody_in_a_line_of_five_reaches_everybody() -> Result<()> {
    let mut street = Street::plain(Topology::line(5))?;
    street.everybody_reaches_everybody()?;
    for (node, daemon) in street.daemons.iter().enumerate() {
        let routes = daemon.ask("routes")?;
        assert_eq!(
            routes.as_array().map(Vec::len),
            Some(4),
            "routes of {}: {routes}",
            daemon.name
        );
        let expected = street.lab.topology().neighbours(node).len();
        let neighbours = daemon.ask("neighbours")?;
        assert_eq!(
            neighbours.as_array().map(Vec::len),
            Some(expected),
            "neighbours of {}: {neighbours}",
            daemon.name
        );
    }
    street.nobody_has_ended()
}

#[test]
fn a_cut_in_the_middle_splits_a_line_and_healing_joins_it() -> Result<()> {
    for how in [Cut::Announced, Cut::Silent] {
        let mut street = Street::plain(Topology::line(5))?;
        street.everybody_reaches_everybody()?;
        street.lab.cut(1, 2, how)?;
        wait_until_unreachable(&street, 0, 4)?;
        // Each half is an island of its own, and whole.
        street.reaches(0, 1)?;
        street.reaches(2, 4)?;
        street.lab.heal(1, 2)?;
        street.everybody_reaches_everybody()?;
        street.nobody_has_ended()?;
    }
    Ok(())
}

#[test]
fn a_link_that_goes_down_again_and_again_comes_back_each_time() -> Result<()> {
    let mut street = Street::plain(Topology::line(2))?;
    street.everybody_reaches_everybody()?;
    // Going down, an interface loses its addresses; also the one that its daemon gave it when it came back before.
    for _ in 0..4 {
        street.lab.cut(0, 1, Cut::Announced)?;
        wait_until_unreachable(&street, 0, 1)?;
        street.lab.heal(0, 1)?;
        street.everybody_reaches_everybody()?;
    }
    street.nobody_has_ended()
}

#[test]
fn a_ring_heals_itself_when_a_link_dies() -> Result<()> {
    for how in [Cut::Announced, Cut::Silent] {
        let mut street = Street::plain(Topology::ring(6))?;
        street.everybody_reaches_everybody()?;
        let (link, outage) = outage::measure(&street.lab, &street.pinger, (0, 1), how, PATIENCE)?;
        assert!(
            outage < PATIENCE,
            "{how:?} cut of {link:?}: no way around was found"
        );
        street.everybody_reaches_everybody()?;
        street.nobody_has_ended()?;
    }
    Ok(())
}

#[test]
fn an_interface_that_vanishes_and_comes_back_carries_the_mesh_again() -> Result<()> {
    let mut street = Street::plain(Topology::line(3))?;
    street.everybody_reaches_everybody()?;
    street.lab.unplug(1, 2)?;
    wait_until_unreachable(&street, 0, 2)?;
    street.nobody_has_ended()?;
    street.lab.plug(1, 2)?;
    street.everybody_reaches_everybody()?;
    for daemon in &mut street.daemons[1..] {
        let log = daemon.process()?.log();
        assert!(
            log.contains("to-"),
            "the log of {} does not name the interface that vanished:\n{log}",
            daemon.name
        );
    }
    street.nobody_has_ended()
}

#[test]
fn a_node_that_is_killed_and_started_again_is_taken_back() -> Result<()> {
    let mut street = Street::plain(Topology::line(3))?;
    street.everybody_reaches_everybody()?;
    for _ in 0..3 {
        street.daemons[1].process()?.kill()?;
        street.daemons[1].start()?;
        street.daemons[1].wait_for_address()?;
        street.everybody_reaches_everybody()?;
    }
    street.nobody_has_ended()
}

#[test]
fn a_daemon_that_is_asked_to_stop_ends_in_order_and_leaves_no_device() -> Result<()> {
    let mut street = Street::plain(Topology::line(2))?;
    street.everybody_reaches_everybody()?;
    assert!(
        street.daemons[0].process()?.stop(Duration::from_secs(10))?,
        "its exit status is not 0"
    );
    let links = warren_lab::command::run("ip", &["-n", &street.lab.namespace(0), "-o", "link"])?;
    assert!(!links.contains("warren0"), "{links}");
    street.daemons[1].process()?.check()
}

fn mtu_of(lab: &Lab, node: usize, interface: &str) -> String {
    let shown = std::process::Command::new("ip")
        .args([
            "-n",
            &lab.namespace(node),
            "-o",
            "link",
            "show",
            "dev",
            interface,
        ])
        .output()
        .expect("ip runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let mut words = shown.split_whitespace().skip_while(|word| *word != "mtu");
    words.nth(1).unwrap_or("no such interface").to_owned()
}

#[test]
fn what_a_killed_daemon_changed_on_an_interface_the_next_one_puts_back() -> Result<()> {
    let mut street = Street::plain(Topology::line(2))?;
    street.everybody_reaches_everybody()?;
    let interface = street.lab.topology().interface(1);
    assert_eq!(mtu_of(&street.lab, 0, &interface), "1583");
    street.daemons[0].process()?.kill()?;
    assert_eq!(mtu_of(&street.lab, 0, &interface), "1583");
    street.daemons[0].start()?;
    street.daemons[0].wait_for_address()?;
    street.everybody_reaches_everybody()?;
    assert_eq!(mtu_of(&street.lab, 0, &interface), "1583");
    assert!(street.daemons[0].process()?.stop(PATIENCE)?);
    assert_eq!(mtu_of(&street.lab, 0, &interface), "1500");
    Ok(())
}
