//! A daemon inside a lab's namespace: started, watched, measured, ended. Measures what the kernel says of it; never looks
//! into its memory.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::spawn_error;
use crate::error::{LabError, Result};

/// CPU time of a process, all its threads together, ended ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuTime {
    /// Seconds in user space.
    pub user: f64,
    /// Seconds in the kernel on its behalf.
    pub system: f64,
}

impl CpuTime {
    /// Both together, seconds.
    pub fn total(self) -> f64 {
        self.user + self.system
    }

    /// What was spent since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user - earlier.user,
            system: self.system - earlier.system,
        }
    }
}

/// A running program; ended when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program inside a namespace (`None`: in the caller's own), with its output in `log`. `name` says whose it
    /// is, for messages.
    pub fn start(
        name: &str,
        namespace: Option<&str>,
        program: &Path,
        arguments: &[&str],
        log: &Path,
    ) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(LabError::io(format!("opening {}", log.display())))?;
        let errors = output
            .try_clone()
            .map_err(LabError::io("doubling a log's handle"))?;
        let mut command = match namespace {
            // `ip netns exec` also gives the program a /sys that shows the namespace's interfaces. It replaces itself by
            // the program, so the process id stays.
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let child = command
            .args(arguments)
            // A group of its own: Ctrl-C in the terminal is for the lab, which ends its daemons in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|e| {
                spawn_error(
                    &program.to_string_lossy(),
                    &format!("{name}: {}", program.display()),
                    e,
                )
            })?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error with the end of its log, if it has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        let status = self
            .child
            .try_wait()
            .map_err(LabError::io(format!("watching {}", self.name)))?;
        status.map_or(Ok(()), |status| {
            Err(LabError::Ended {
                name: self.name.clone(),
                status: status.to_string(),
                tail: self.log_tail(),
            })
        })
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// CPU time so far: utime and stime of `/proc/PID/stat` (proc(5)).
    pub fn cpu(&self) -> Result<CpuTime> {
        let path = format!("/proc/{}/stat", self.pid());
        let stat = fs::read_to_string(&path).map_err(LabError::io(format!("reading {path}")))?;
        cpu_of(&stat).ok_or_else(|| LabError::answer(path, &stat))
    }

    /// Memory in bytes: the proportional set size, in which a page shared by n processes counts 1/n.
    pub fn pss(&self) -> Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let text = fs::read_to_string(&path).map_err(LabError::io(format!("reading {path}")))?;
        pss_of(&text).ok_or_else(|| LabError::answer(path, &text))
    }

    /// Bytes that it caused to be written to disks so far: `write_bytes` of `/proc/PID/io` (proc(5)).
    pub fn written(&self) -> Result<u64> {
        let path = format!("/proc/{}/io", self.pid());
        let text = fs::read_to_string(&path).map_err(LabError::io(format!("reading {path}")))?;
        text.lines()
            .find_map(|line| line.strip_prefix("write_bytes:")?.trim().parse().ok())
            .ok_or_else(|| LabError::answer(path, &text))
    }

    /// Files and connections that it has open.
    pub fn open_files(&self) -> Result<usize> {
        let path = format!("/proc/{}/fd", self.pid());
        let entries = fs::read_dir(&path).map_err(LabError::io(format!("reading {path}")))?;
        Ok(entries.count())
    }

    /// Memory that is resident now, in bytes, and the most that ever was since [`Process::forget_peak`].
    pub fn resident(&self) -> Result<(u64, u64)> {
        Ok((self.kib("VmRSS")? * 1024, self.kib("VmHWM")? * 1024))
    }

    /// Begins the watch for the most memory anew.
    pub fn forget_peak(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.pid());
        fs::write(&path, "5").map_err(LabError::io(format!("writing {path}")))
    }

    fn kib(&self, key: &str) -> Result<u64> {
        let line = self.status_line(key)?;
        let number = line.trim_end_matches("kB").trim().parse();
        number.map_err(|_| LabError::answer(key, &line))
    }

    /// One line of `/proc/PID/status`, without its name.
    pub fn status_line(&self, key: &str) -> Result<String> {
        let path = format!("/proc/{}/status", self.pid());
        let text = fs::read_to_string(&path).map_err(LabError::io(format!("reading {path}")))?;
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
            .ok_or_else(|| LabError::answer(path, &text))
    }

    /// Ends it as an unexpected power cut would: SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.child
            .kill()
            .map_err(LabError::io(format!("killing {}", self.name)))?;
        self.child
            .wait()
            .map_err(LabError::io(format!("waiting for {}", self.name)))?;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits until it has. Returns whether its exit status was 0.
    pub fn stop(&mut self, patience: Duration) -> Result<bool> {
        if let Some(pid) = i32::try_from(self.pid())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            // An error means that it has ended already, which the wait below finds.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let begin = Instant::now();
        loop {
            if let Some(status) = self
                .child
                .try_wait()
                .map_err(LabError::io(format!("waiting for {}", self.name)))?
            {
                return Ok(status.success());
            }
            if begin.elapsed() > patience {
                self.kill()?;
                return Err(LabError::Timeout {
                    what: format!("{} to stop", self.name),
                    after: patience,
                });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // In a drop there is nobody to tell; the reaper ends what is left.
            let _ = self.stop(Duration::from_secs(3));
        }
    }
}

/// utime and stime (fields 14 and 15) of a stat line. The name in parentheses may hold anything, so count behind it.
fn cpu_of(stat: &str) -> Option<CpuTime> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    #[allow(clippy::cast_precision_loss)]
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    Some(CpuTime {
        user: user / ticks,
        system: system / ticks,
    })
}

fn pss_of(smaps_rollup: &str) -> Option<u64> {
    let line = smaps_rollup.lines().find_map(|l| l.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// CPU seconds that the whole machine has spent working, in whatever process or interrupt, since boot.
pub fn machine_cpu() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat").map_err(LabError::io("reading /proc/stat"))?;
    let line = stat.lines().next().unwrap_or("");
    let fields: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|f| f.parse().ok())
        .collect();
    if fields.len() < 8 {
        return Err(LabError::answer("/proc/stat", line));
    }
    // user nice system (idle iowait) irq softirq steal
    let busy: f64 = fields[0..3].iter().chain(&fields[5..8]).sum();
    #[allow(clippy::cast_precision_loss)]
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    Ok(busy / ticks)
}

#[cfg(test)]
mod tests {
    use super::{cpu_of, pss_of};

    #[test]
    fn cpu_time_is_found_behind_a_name_with_spaces_and_parentheses() {
        let ticks = rustix::param::clock_ticks_per_second();
        let stat = format!(
            "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 {ticks} {} 0 0 20 0",
            2 * ticks
        );
        let cpu = cpu_of(&stat).unwrap();
        assert!((cpu.user - 1.0).abs() < 1e-9 && (cpu.system - 2.0).abs() < 1e-9);
    }

    #[test]
    fn pss_is_in_kib() {
        assert_eq!(pss_of("x\nRss:  9 kB\nPss:     3 kB\n"), Some(3072));
        assert_eq!(pss_of("Rss: 9 kB"), None);
    }
}
