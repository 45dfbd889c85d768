//! Load on a lab: TCP by iperf3, and UDP packets of one size at a steady pace. Sends only to the lab's own addresses.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::run;
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::namespace;
use crate::process::Process;
use crate::topology::NodeIndex;

/// Port of iperf3 and of the UDP load.
pub const PORT: u16 = 5201;

/// What a TCP transfer achieved.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Bytes that arrived.
    pub bytes: u64,
    /// Arrived, Mbit/s of user data.
    pub mbit_per_s: f64,
}

/// One TCP connection for `seconds`, as fast as it goes, to the address of node `to`.
pub fn tcp(
    lab: &Lab,
    from: NodeIndex,
    to: NodeIndex,
    address: Ipv6Addr,
    seconds: u32,
) -> Result<Transfer> {
    let log = lab.folder().join("iperf3-server.log");
    let port = PORT.to_string();
    let _server = Process::start(
        "iperf3 server",
        Some(&lab.namespace(to)),
        Path::new("iperf3"),
        &["-6", "-s", "-p", &port],
        &log,
    )?;
    wait_for_listener(lab, to)?;
    let namespace = lab.namespace(from);
    let (address, seconds) = (address.to_string(), seconds.to_string());
    let text = run(
        "ip",
        &[
            "netns",
            "exec",
            &namespace,
            "iperf3",
            "-6",
            "-c",
            &address,
            "-p",
            &port,
            "-t",
            &seconds,
            "-J",
            "--connect-timeout",
            "5000",
        ],
    )?;
    let answer: Value =
        serde_json::from_str(&text).map_err(|_| LabError::answer("iperf3", &text))?;
    let sum = &answer["end"]["sum_received"];
    match (sum["bytes"].as_u64(), sum["bits_per_second"].as_f64()) {
        (Some(bytes), Some(rate)) if bytes > 0 => Ok(Transfer {
            bytes,
            mbit_per_s: rate / 1e6,
        }),
        _ => Err(LabError::answer("iperf3", &text)),
    }
}

fn wait_for_listener(lab: &Lab, node: NodeIndex) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let wanted = format!(":{PORT:04X} ");
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        // The file shows the namespace of the thread that reads it.
        let table = namespace::within(&lab.namespace(node), || {
            std::fs::read_to_string("/proc/thread-self/net/tcp6")
                .map_err(LabError::io("reading the list of sockets"))
        })?;
        // State 0A is LISTEN (the kernel's proc_net_tcp documentation).
        if table
            .lines()
            .any(|line| line.contains(&wanted) && line.contains(" 0A "))
        {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(LabError::Timeout {
        what: "iperf3 to listen".into(),
        after: PATIENCE,
    })
}

/// What a UDP load achieved.
#[derive(Clone, Copy, Debug)]
pub struct Datagrams {
    /// Datagrams handed to the sender's system.
    pub sent: u64,
    /// Datagrams that arrived.
    pub received: u64,
}

/// IPv6 packets of `length` bytes, headers included, `per_second` of them in small bursts, for `duration`.
pub fn udp(
    lab: &Lab,
    (from, to): (NodeIndex, NodeIndex),
    address: Ipv6Addr,
    length: usize,
    per_second: u32,
    duration: Duration,
) -> Result<Datagrams> {
    const BURST: u32 = 20;
    let any = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0));
    let receiver = namespace::within(&lab.namespace(to), || {
        UdpSocket::bind(any).map_err(LabError::io("binding the receiver of the UDP load"))
    })?;
    let target = SocketAddrV6::new(address, PORT, 0, 0);
    let sender = namespace::within(&lab.namespace(from), || {
        let socket = UdpSocket::bind("[::]:0")
            .map_err(LabError::io("binding the sender of the UDP load"))?;
        socket
            .connect(target)
            .map_err(LabError::io(format!("connecting to {target}")))?;
        Ok(socket)
    })?;
    receiver
        .set_nonblocking(true)
        .map_err(LabError::io("setting up the receiver"))?;
    // 40 bytes of IPv6 and 8 of UDP header.
    let payload = vec![0x5a_u8; length.saturating_sub(48)];
    let mut buffer = vec![0_u8; 2048];
    let mut count = Datagrams {
        sent: 0,
        received: 0,
    };
    let pause = Duration::from_secs(1) * BURST / per_second.max(1);
    let begin = Instant::now();
    let mut next = begin;
    let mut turn = 0.0;
    while begin.elapsed() < duration {
        for _ in 0..BURST {
            count.sent += u64::from(sender.send(&payload).is_ok());
        }
        while receiver.recv(&mut buffer).is_ok() {
            count.received += 1;
        }
        // Never in step with the kernel's timer, whose ticks tell user from system time.
        turn = (turn + 0.618_033_988) % 1.0;
        next += pause.mul_f64(0.5 + turn);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    // What is still on its way: until nothing has come for a while.
    receiver
        .set_nonblocking(false)
        .map_err(LabError::io("setting up the receiver"))?;
    receiver
        .set_read_timeout(Some(Duration::from_millis(300)))
        .map_err(LabError::io("setting up the receiver"))?;
    while receiver.recv(&mut buffer).is_ok() {
        count.received += 1;
    }
    Ok(count)
}
