//! How long a pair of nodes is without traffic when a link of the path between them dies. Watches pings only; which
//! daemon heals the path, and how, is not its concern.

use std::time::{Duration, Instant};

use crate::error::{LabError, Result};
use crate::lab::{Cut, Lab};
use crate::ping::Pinger;
use crate::topology::NodeIndex;

/// Time between pings: what the outage is measured in.
const EVERY: Duration = Duration::from_millis(10);
/// Pings must flow for so long after the cut before the outage counts as over.
const CALM: Duration = Duration::from_secs(3);

/// The path that traffic between two nodes takes now, found by counting: the nodes in order.
pub fn path(lab: &Lab, pinger: &Pinger, from: NodeIndex, to: NodeIndex) -> Result<Vec<NodeIndex>> {
    const PINGS: u32 = 200;
    let before = sent(lab)?;
    let answered = pinger
        .round_trips(from, to, PINGS, Duration::from_millis(5))?
        .len();
    let after = sent(lab)?;
    let mut path = vec![from];
    let mut here = from;
    while here != to && path.len() <= lab.topology().len() {
        let grown = after[here]
            .iter()
            .zip(&before[here])
            .map(|(a, b)| (a.1.packets - b.1.packets, a.0));
        let next = grown
            .filter(|(_, neighbour)| !path.contains(neighbour))
            .max()
            .filter(|(packets, _)| *packets >= u64::from(PINGS) / 2);
        let Some((_, next)) = next else {
            return Err(LabError::answer(
                "the path of pings",
                &format!("{path:?}, {answered} answered"),
            ));
        };
        path.push(next);
        here = next;
    }
    Ok(path)
}

fn sent(lab: &Lab) -> Result<Vec<Vec<(NodeIndex, crate::lab::Counted)>>> {
    (0..lab.topology().len())
        .map(|node| lab.sent_by(node))
        .collect()
}

/// Cuts the middle link of the path between two nodes under a stream of pings. Returns the link and the time without
/// traffic: the sum of all gaps between answers that are longer than five pings, from the cut on. `limit` if it never came
/// back.
pub fn measure(
    lab: &Lab,
    pinger: &Pinger,
    (from, to): (NodeIndex, NodeIndex),
    how: Cut,
    limit: Duration,
) -> Result<((NodeIndex, NodeIndex), Duration)> {
    let path = path(lab, pinger, from, to)?;
    let middle = path.len() / 2;
    let link = (path[middle - 1], path[middle]);
    let outage = std::thread::scope(|scope| -> Result<Duration> {
        let mut answers: Vec<Instant> = Vec::new();
        let mut sequence = 0x1000_0000_u32;
        let mut cut = None;
        let begin = Instant::now();
        loop {
            let next = Instant::now() + EVERY;
            pinger.send(from, to, sequence);
            sequence += 1;
            pinger.receive(next, |reply| {
                if (reply.from, reply.to) == (from, to) && reply.sequence >= 0x1000_0000 {
                    answers.push(reply.at);
                }
            })?;
            match cut {
                None if begin.elapsed() > Duration::from_millis(500) => {
                    cut = Some((Instant::now(), scope.spawn(|| lab.cut(link.0, link.1, how))));
                }
                None => {}
                Some((at, _)) => {
                    let now = Instant::now();
                    let recent = answers
                        .iter()
                        .rev()
                        .take_while(|a| now.duration_since(**a) < CALM / 2)
                        .count();
                    let expected = (CALM / 2).as_millis() / EVERY.as_millis();
                    let calm = now.duration_since(at) > CALM && recent as u128 >= expected * 8 / 10;
                    if calm || now.duration_since(at) > limit {
                        break;
                    }
                }
            }
        }
        let Some((at, handle)) = cut else {
            return Ok(limit);
        };
        handle
            .join()
            .map_err(|_| LabError::Unknown("result of the cut".into()))??;
        Ok(silence(&answers, at, Instant::now()).min(limit))
    })?;
    Ok((link, outage))
}

/// Sum of the gaps between answers longer than five pings, from the cut to the end.
fn silence(answers: &[Instant], cut: Instant, end: Instant) -> Duration {
    let mut previous = cut;
    let mut sum = Duration::ZERO;
    for at in answers.iter().copied().filter(|at| *at >= cut).chain([end]) {
        let gap = at.saturating_duration_since(previous);
        if gap > EVERY * 5 {
            sum += gap;
        }
        previous = at;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::silence;
    use std::time::{Duration, Instant};

    #[test]
    fn silence_is_the_sum_of_long_gaps_after_the_cut() {
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let answers = [at(0), at(90), at(100), at(400), at(410), at(600)];
        assert_eq!(
            silence(&answers, at(95), at(610)),
            Duration::from_millis(490)
        );
        assert_eq!(silence(&[], at(0), at(1000)), Duration::from_secs(1));
    }
}
