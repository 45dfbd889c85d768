//! A space on one router, seen through the home of another, while the mesh between them breaks and heals. Needs root.

use std::time::Duration;

use warren_lab::overlay::Warrend;
use warren_lab::overlay::warrend::{Options, start_with};
use warren_lab::{Cut, Lab, Result, Topology};

const PATIENCE: Duration = Duration::from_secs(60);
const SPACE: &str = "Garden club";

fn neighbourhood() -> Result<(Lab, Vec<Warrend>)> {
    let lab = Lab::new(Topology::neighbourhood())?;
    let (daemons, _) = start_with(&lab, |node| Options {
        space: (node == 4).then(|| SPACE.to_owned()),
        ..Options::default()
    })?;
    Ok((lab, daemons))
}

#[test]
fn a_visible_space_is_known_and_reached_from_every_home() -> Result<()> {
    let (_lab, daemons) = neighbourhood()?;
    let here = daemons[4].service(SPACE, PATIENCE)?;
    assert_eq!(here.len(), 52, "{here}");
    for daemon in &daemons {
        assert_eq!(
            daemon.service(SPACE, PATIENCE)?,
            here,
            "as {} knows it",
            daemon.name
        );
        let card = daemon.get(&format!("/s/{here}/"), "application/nostr+json")?;
        assert!(card.contains(SPACE), "through {}: {card}", daemon.name);
    }
    Ok(())
}

#[test]
fn the_space_is_reached_while_links_are_cut_and_healed() -> Result<()> {
    let (lab, daemons) = neighbourhood()?;
    let service = daemons[0].service(SPACE, PATIENCE)?;
    let path = format!("/s/{service}/");
    // B - C - D and the shortcut B - D: one of them may always be missing.
    for (a, b, how) in [
        (1, 3, Cut::Announced),
        (2, 3, Cut::Silent),
        (1, 3, Cut::Silent),
    ] {
        lab.cut(a, b, how)?;
        let begin = std::time::Instant::now();
        loop {
            match daemons[0].get(&path, "application/nostr+json") {
                Ok(card) => {
                    assert!(card.contains(SPACE), "{card}");
                    break;
                }
                Err(error) if begin.elapsed() > PATIENCE => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        lab.heal(a, b)?;
    }
    Ok(())
}
