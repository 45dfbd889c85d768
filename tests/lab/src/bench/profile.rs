//! `scripts/bench profile`: what the processor time of each daemon of a line of three goes to while TCP passes, by `perf`.
//! Needs a `warrend` with symbols.

use std::collections::BTreeMap;
use std::process::Command;

use crate::command::run;
use crate::error::{LabError, Result};
use crate::figures::{Figure, Report};
use crate::lab::{Lab, Offload};
use crate::overlay::Program;
use crate::ping::Pinger;
use crate::topology::Topology;
use crate::traffic;

/// Seconds of the transfer.
const SECONDS: u32 = 8;
/// Samples a second.
const FREQUENCY: &str = "1999";

/// Where a sample belongs: the first of these whose words stand anywhere in its stack. What is in the kernel is told by
/// the system call that led there; interrupts are the network's own work.
const KERNEL: [(&str, &[&str]); 6] = [
    ("send", &["sys_sendmsg", "sys_sendmmsg"]),
    ("receive", &["sys_recvmmsg"]),
    ("tun_read", &["tun_chr_read", "vfs_read", "ksys_read"]),
    ("tun_write", &["tun_chr_write", "do_writev", "vfs_write"]),
    ("wait", &["epoll"]),
    ("interrupts", &[""]),
];
/// The same for the innermost function outside the kernel.
const USER: [(&str, &[&str]); 4] = [
    (
        "aead",
        &["chacha", "poly1305", "aes", "gcm", "ring", "CRYPTO_memcmp"],
    ),
    ("copy", &["mem"]),
    ("mesh", &["warren_mesh"]),
    ("daemon", &[""]),
];

/// Measures and prints one line for each node and kind of work: its share of the node's time, percent.
pub fn measure(report: Report) -> Result<()> {
    let lab = Lab::new(Topology::line(3))?;
    lab.set_offload(Offload::All)?;
    let mut running = Program::Warrend.start(&lab, &["tcp/5201", "udp/5201"])?;
    let pinger = Pinger::new(&lab, &running.addresses)?;
    pinger.reach(0, 2, std::time::Duration::from_secs(60))?;
    let data = lab.folder().join("perf.data");
    let pids: Vec<String> = running
        .daemons
        .iter()
        .map(|d| d.pid().to_string())
        .collect();
    let mut recorder = Command::new("perf")
        .args([
            "record",
            "-q",
            "-g",
            "-F",
            FREQUENCY,
            "-p",
            &pids.join(","),
            "-o",
        ])
        .arg(&data)
        .args(["--", "sleep", &(SECONDS - 2).to_string()])
        .spawn()
        .map_err(LabError::io("starting perf"))?;
    let transfer = traffic::tcp(&lab, 0, 2, running.addresses[2], SECONDS);
    recorder.wait().map_err(LabError::io("waiting for perf"))?;
    running.check()?;
    report.progress(&format!(
        "{:.0} Mbit/s while perf watched",
        transfer?.mbit_per_s
    ));
    let samples = run(
        "perf",
        &[
            "script",
            "-i",
            &data.to_string_lossy(),
            "-F",
            "pid,ip,sym,dso",
        ],
    )?;
    for ((name, pid), role) in ["A", "B", "C"]
        .iter()
        .zip(&pids)
        .zip(["sender", "relay", "receiver"])
    {
        let shares = shares(&samples, pid);
        let total: u32 = shares.values().sum();
        if total == 0 {
            return Err(LabError::Unknown(format!(
                "perf saw nothing of {name}'s daemon"
            )));
        }
        for (kind, count) in shares {
            let percent = f64::from(count) * 100.0 / f64::from(total);
            report.figure(&Figure::alone(
                format!("profile.line3.{role}.{kind}"),
                percent,
                "%",
            ));
        }
    }
    Ok(())
}

/// How many samples of a process belong to each kind of work.
fn shares(samples: &str, pid: &str) -> BTreeMap<String, u32> {
    let mut shares = BTreeMap::new();
    for sample in samples.split("\n\n") {
        let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
        if lines.next().map(str::trim) != Some(pid) {
            continue;
        }
        if let Some(kind) = kind(&lines.collect::<Vec<_>>()) {
            *shares.entry(kind).or_insert(0) += 1;
        }
    }
    shares
}

/// The kind of a stack, innermost call first. A line is "ADDRESS FUNCTION (OBJECT)".
fn kind(stack: &[&str]) -> Option<String> {
    let top = stack.first()?;
    let (side, kinds, words): (_, &[(&str, &[&str])], _) = if top.contains("kernel") {
        ("kernel", &KERNEL, stack.join(" "))
    } else {
        ("user", &USER, (*top).to_owned())
    };
    let (name, _) = kinds
        .iter()
        .find(|(_, marks)| marks.iter().any(|mark| words.contains(mark)))?;
    Some(format!("{side}.{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_by_process_and_by_what_they_do() {
        let samples = "  7\n\t55 ring_core_0_17_14__aes_gcm_enc_update (/x/warrend)\n\t56 run (/x/warrend)\n\n\
                       7\n\tff tcp_ack ([kernel.kallsyms])\n\tfe tun_chr_write_iter ([kernel.kallsyms])\n\n\
                       7\n\tff copy_to_iter ([kernel.kallsyms])\n\tfe __sys_recvmmsg ([kernel.kallsyms])\n\n\
                       8\n\t55 warren_mesh::node::Node::pump (/x/warrend)\n";
        let seven = shares(samples, "7");
        let expected = ["kernel.receive", "kernel.tun_write", "user.aead"];
        assert_eq!(seven.keys().collect::<Vec<_>>(), expected);
        assert!(seven.values().all(|count| *count == 1));
        assert_eq!(
            shares(samples, "8").keys().collect::<Vec<_>>(),
            ["user.mesh"]
        );
    }
}
