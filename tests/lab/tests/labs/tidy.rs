//! A lab leaves nothing behind, however it ends. Needs root.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use warren_lab::{Lab, Result, Topology, namespace};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_dropped_lab_takes_its_namespaces_and_folder_with_it() -> Result<()> {
    let lab = Lab::new(Topology::ring(3))?;
    let (first, folder) = (lab.namespace(0), lab.folder().to_owned());
    assert!(namespace::all().contains(&first) && folder.is_dir());
    drop(lab);
    assert!(!namespace::all().contains(&first), "{first} is still there");
    assert!(!folder.exists(), "{} is still there", folder.display());
    Ok(())
}

#[test]
fn plain_forwarding_reaches_all_pairs_of_a_grid() -> Result<()> {
    let lab = Lab::new(Topology::grid(3, 3))?;
    let addresses = lab.route_plainly()?;
    let pinger = warren_lab::ping::Pinger::new(&lab, &addresses)?;
    pinger.reach_all(Instant::now(), PATIENCE)?;
    // A link that silently loses everything is silent, and works again when healed.
    lab.cut(0, 1, warren_lab::Cut::Silent)?;
    assert!(pinger.is_silent(0, 1, 5)?);
    lab.heal(0, 1)?;
    pinger.reach(0, 1, PATIENCE)?;
    Ok(())
}

/// The neighbourhood is killed with SIGKILL in the middle of its life: nobody can clean up but the reaper.
#[test]
fn a_killed_neighbourhood_leaves_no_namespace_and_no_daemon() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_warren-lab"))
        .args(["with-neighbourhood", "sh", "-c", "echo up; exec cat"])
        // The program ends with this test, whatever happens: its input closes.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mark = format!("warren-lab-{}-", child.id());
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "up\n", "the neighbourhood did not come up");
    let ours = || {
        namespace::all()
            .into_iter()
            .filter(|name| name.starts_with(&mark))
            .collect::<Vec<_>>()
    };
    assert_eq!(ours().len(), 5);
    child.kill().unwrap();
    child.wait().unwrap();
    let begin = Instant::now();
    while !ours().is_empty() {
        assert!(begin.elapsed() < PATIENCE, "left behind: {:?}", ours());
        std::thread::sleep(Duration::from_millis(50));
    }
}
